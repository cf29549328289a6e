// Keeps an open page fresh. Everything works without it: each page says how to reload.
//
// While a step runs, its job is asked how far it is, and the page is loaded anew when it has ended. Otherwise pages
// marked data-refresh are fetched again now and then, and their content is exchanged if it has changed, unless
// somebody is using it.
"use strict";

const JOB_MS = 700;
const PAGE_MS = 4000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function followJob(panel) {
  const answer = await fetch(`/api/v1/jobs/${encodeURIComponent(panel.dataset.job)}`, {
    headers: { Accept: "application/json" },
  });
  if (answer.status === 401 || answer.status === 404) {
    location.reload();
    return;
  }
  if (!answer.ok) return;
  const job = await answer.json();
  if (job.state === "done" || job.state === "failed") {
    location.reload();
    return;
  }
  panel.querySelector("progress").value = job.progress.fraction;
  panel.querySelector("[data-job-text]").textContent = job.progress.text;
}

function inUse(main) {
  const selection = getSelection();
  return main.contains(document.activeElement) || (selection !== null && !selection.isCollapsed);
}

async function refreshPage(main) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) {
    location.reload();
    return;
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  if (fresh === null || inUse(main)) return;
  const opened = Array.from(main.querySelectorAll("details"), (details) => details.open);
  fresh.querySelectorAll("details").forEach((details, index) => {
    details.open = opened[index] === true;
  });
  if (fresh.innerHTML !== main.innerHTML) main.replaceChildren(...fresh.childNodes);
}

async function live() {
  for (;;) {
    const panel = document.querySelector("[data-job]");
    await pause(panel ? JOB_MS : PAGE_MS);
    if (document.hidden) continue;
    const main = document.querySelector("main[data-refresh]");
    try {
      if (panel) await followJob(panel);
      else if (main) await refreshPage(main);
    } catch {
      // the server is away for a moment; ask again
    }
  }
}

live();
