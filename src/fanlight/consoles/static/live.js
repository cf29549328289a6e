// What htmx leaves to a page. htmx itself sends the forms, keeps a page fresh that is marked data-refresh, and puts the
// answer into <main> node by node, so that what somebody types, has chosen, opened or focused stays (see layout.html,
// docs/adr/0011-htmx.md). Everything works without any of this, by loading pages.
"use strict";

const notice = document.querySelector("#notice");
const isForm = (ctx) => ctx.sourceElement.matches("form");
const refresh = () => document.querySelector("#refresh");

// A page that is on its way would show what was before a form was sent.
function stopRefreshing() {
  if (refresh()) htmx.trigger(refresh(), "htmx:abort");
}

// Searches load pages, as ever, and so do links; htmx sends only what changes something.
document.addEventListener("htmx:before:init", (event) => {
  if (event.target.matches("a, form:not([method=post])")) event.preventDefault();
});

document.addEventListener("htmx:before:request", (event) => {
  const { ctx } = event.detail;
  if (!isForm(ctx)) return;
  ctx.button = ctx.request.submitter ?? ctx.sourceElement.querySelector("button");
  ctx.button.setAttribute("aria-disabled", "true"); // disabled would lose the focus
  stopRefreshing();
});

document.addEventListener("htmx:finally:request", (event) => {
  const { button, keepIndicators } = event.detail.ctx;
  if (!keepIndicators) button?.removeAttribute("aria-disabled");
});

document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  const answer = ctx.response.raw;
  if (isForm(ctx)) stopRefreshing(); // asked for while the form was under way
  if (!answer.ok) {
    if (!tasks[0].fragment.hasChildNodes()) tasks[0].fragment = copyOf("#no-answer");
    return;
  }
  const { href, pathname } = new URL(answer.url);
  if (answer.redirected && pathname !== location.pathname) {
    event.preventDefault();
    ctx.keepIndicators = true; // busy until the other page is there
    location.assign(href);
    return;
  }
  if (answer.redirected) history.replaceState(null, "", href);
  if (isForm(ctx) && !ctx.emptied) ctx.sourceElement.reset(); // what was sent is not to be sent again
  if (isForm(ctx)) notice.replaceChildren(); // what a step has said stays until the next one, or until it is closed
});

// ---- notices

const copyOf = (template) => document.querySelector(template).content.cloneNode(true);

document.addEventListener("htmx:error", (event) => {
  if (isForm(event.detail.ctx)) notice.replaceChildren(copyOf("#no-answer"));
});
document.querySelector("#close-notice").addEventListener("click", () => notice.replaceChildren());

// ---- the server may be away: the page says so, and asks for it less and less often, by lot, so that not all pages come
//      back at once; a link is followed when it is there, or the browser would put an error in the place of the page

const EVERY_S = 5;
const AWAY_S = [1, 60];
const connection = document.querySelector("#connection");
let failures = 0;
let wanted = null; // the address that a link leads to
let clock = 0;

function later() {
  clearTimeout(clock);
  if (document.hidden || !(failures || refresh())) return;
  const [least, most] = AWAY_S;
  const wait = failures ? least + Math.random() * Math.min(most, 2 ** failures) : EVERY_S;
  clock = setTimeout(ask, 1000 * wait);
}

function ask() {
  clearTimeout(clock);
  if (refresh() && !wanted) htmx.trigger(refresh(), "due");
  else look();
}

// A link is not kept back for long: a server that neither answers nor refuses is slow, and the browser waits for it.
async function look() {
  try {
    const limit = AbortSignal.timeout(wanted ? 1_000 : 10_000);
    const answer = await fetch("/healthz", { cache: "no-store", signal: limit });
    if (!answer.ok) throw new Error(answer.statusText);
  } catch (error) {
    if (!(wanted && error.name === "TimeoutError")) {
      away();
      return;
    }
  }
  here();
}

function away() {
  failures += 1;
  if (!connection.hasChildNodes()) connection.replaceChildren(copyOf("#not-connected"));
  connection.querySelector("[data-wanted]").hidden = !wanted;
  later();
}

function here() {
  failures = 0;
  connection.replaceChildren();
  if (wanted) {
    location.assign(wanted);
    wanted = null; // followed once: what is heard while it loads does not begin anew
  } else later();
}

// A page that is kept fresh knows whether its server is there; any other asks first.
const isThere = () => refresh() && !failures;

function goTo(address) {
  wanted = address;
  look();
}

document.addEventListener("htmx:error", (event) => {
  if (event.target.id === "refresh") away();
});
document.addEventListener("htmx:finally:request", (event) => {
  const { sourceElement, response } = event.detail.ctx;
  if (sourceElement.id !== "refresh") return;
  if (response?.raw.ok) {
    here();
    return;
  }
  if (response) failures += 1; // it is there, and in trouble; otherwise a form took the request's place
  later();
});
document.addEventListener("htmx:sse:error", () => {
  if (!failures) ask();
});
connection.addEventListener("click", (event) => {
  if (event.target.matches("button")) ask();
});
document.addEventListener("visibilitychange", () => (failures && !document.hidden ? ask() : later()));
window.addEventListener("online", () => failures && ask());
window.addEventListener("pageshow", () => (wanted = null)); // it may be shown again as it was left

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const plain = !(event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  const elsewhere = link?.target || link?.hasAttribute("download") || link?.origin !== location.origin;
  if (isThere() || !plain || elsewhere || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  goTo(link.href);
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (isThere() || event.defaultPrevented || form.method !== "get") return;
  event.preventDefault();
  const address = new URL(form.action);
  address.search = new URLSearchParams(new FormData(form, event.submitter));
  goTo(address.href);
});

later();

// ---- times: pages come with those of UTC; here they are local, with how long ago it was

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const HOUR_S = 3600;

function ago(seconds) {
  if (seconds < 0 || seconds >= 24 * HOUR_S) return "";
  if (seconds < 60) return " (just now)";
  return seconds < HOUR_S ? ` (${Math.floor(seconds / 60)} min ago)` : ` (${Math.floor(seconds / HOUR_S)} h ago)`;
}

function tellTimes() {
  const now = new Date();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const seconds = "precise" in time.dataset || "clock" in time.dataset ? "2-digit" : undefined;
    let told = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: seconds });
    if (!("clock" in time.dataset)) {
      const day = at.toDateString() === now.toDateString() ? "" : `${DAY.format(at)}, `;
      told = day + told + ago((now - at) / 1000);
    }
    if (time.textContent !== told) time.textContent = told;
    time.title = `${time.dateTime.replace("T", " ").replace("Z", "")} UTC`;
  }
}

document.addEventListener("htmx:after:swap", tellTimes);
setInterval(tellTimes, 30_000);
tellTimes();

// ---- charts

async function drawCharts() {
  if (document.querySelector("figure[data-chart]")) (await import("/static/charts.js")).draw(document);
}

document.addEventListener("htmx:after:swap", drawCharts);
drawCharts();
