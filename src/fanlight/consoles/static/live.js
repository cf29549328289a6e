// Keeps an open page fresh. Everything works without it: each page says how to reload.
//
// The server tells of changes (/events); then a page marked data-refresh is fetched again, and those of its parts that
// have changed are exchanged, unless somebody is using them. While a step runs, its job is asked how far it is. Where
// events do not come through, the same is done by the clock.
"use strict";

const JOB_MS = 700;
const ALONE_MS = 4000;
const WITH_EVENTS_MS = 8000;

let events = null;
let wake = () => {};
let sources = [];

const main = () => document.querySelector("main[data-refresh]");
const connected = () => events !== null && events.readyState === EventSource.OPEN;
const changeOr = (ms) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  wake = () => {
    clearTimeout(timer);
    resolve();
  };
});

function listen() {
  if (document.hidden) {
    events?.close(); // browsers allow few connections to one server
    events = null;
    return;
  }
  events = new EventSource("/events");
  events.addEventListener("open", () => wake());
  events.addEventListener("change", () => wake());
}

async function drawCharts(root) {
  if (root.querySelector("figure[data-chart]")) await (await import("/static/charts.js")).draw(root);
}

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
  if (job.progress.points.length !== Number(panel.dataset.points)) await refreshPage();
}

function inUse(part) {
  const selection = getSelection();
  const selected = selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
  return selected || part.contains(document.activeElement);
}

function exchange(old, fresh) {
  const opened = Array.from(old.querySelectorAll("details"), (details) => details.open);
  fresh.querySelectorAll("details").forEach((details, index) => {
    details.open = opened[index] === true;
  });
  old.replaceWith(fresh);
}

async function refreshPage() {
  const shown = main();
  if (shown === null) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) {
    location.reload();
    return;
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  if (fresh === null) return;
  // What the server sent is compared, not what the page has become of it: charts are drawn into it.
  const parts = Array.from(fresh.children, (part) => part.outerHTML);
  if (parts.length !== sources.length) {
    if (inUse(shown)) return;
    exchange(shown, fresh);
    sources = parts;
  } else {
    const old = Array.from(shown.children);
    Array.from(fresh.children).forEach((part, index) => {
      const drawn = old[index].querySelector("figure[data-drawn], details") !== null;
      const same = parts[index] === sources[index] && (drawn || old[index].outerHTML === parts[index]);
      if (same || inUse(old[index])) return;
      exchange(old[index], part);
      sources[index] = parts[index];
    });
  }
  await drawCharts(main());
}

async function live() {
  for (;;) {
    const job = document.querySelector("[data-job]");
    await changeOr(connected() ? WITH_EVENTS_MS : job ? JOB_MS : ALONE_MS);
    if (document.hidden) continue;
    const panel = document.querySelector("[data-job]");
    try {
      if (panel) await followJob(panel);
      else await refreshPage();
    } catch {
      // the server is away for a moment; ask again
    }
  }
}

if (document.querySelector("main form[action='/login']") === null) {
  const shown = main();
  if (shown !== null) sources = Array.from(shown.children, (part) => part.outerHTML);
  if (shown !== null || document.querySelector("[data-job]")) {
    document.addEventListener("visibilitychange", listen);
    listen();
    live();
  }
  drawCharts(document);
}
