// What htmx leaves to a page. htmx itself sends the forms, keeps a page fresh that is marked data-refresh, and puts the
// answer into <main> node by node, so that what somebody types, has chosen, opened or focused stays (see layout.html,
// docs/adr/0011-htmx.md). Everything works without any of this, by loading pages.
"use strict";

const notice = document.querySelector("#notice");
const isForm = (ctx) => ctx.sourceElement.matches("form");

// A page that is on its way would show what was before a form was sent.
function stopRefreshing() {
  const refresh = document.querySelector("#refresh");
  if (refresh) htmx.trigger(refresh, "htmx:abort");
}

// Links and searches load pages, as ever; htmx sends only what changes something.
document.addEventListener("htmx:before:init", (event) => {
  if (event.target.matches("a, form:not([method=post])")) event.preventDefault();
});

document.addEventListener("htmx:before:request", (event) => {
  const { ctx } = event.detail;
  if (isForm(ctx)) {
    ctx.button = ctx.request.submitter ?? ctx.sourceElement.querySelector("button");
    ctx.button.setAttribute("aria-disabled", "true"); // disabled would lose the focus
    stopRefreshing();
  } else if (document.hidden && ctx.sourceEvent.type === "every") {
    event.preventDefault();
  }
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
    if (!tasks[0].fragment.hasChildNodes()) tasks[0].fragment = noAnswer();
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
  if (isForm(ctx) || notice.querySelector("[data-no-answer]")) notice.replaceChildren();
});

// ---- notices

const noAnswer = () => document.querySelector("#no-answer").content.cloneNode(true);

document.addEventListener("htmx:error", (event) => {
  // Where the stream of events does not come through, the page asks by the clock; only then is there something to say.
  if (!event.target.matches?.("[hx-sse\\:connect]")) notice.replaceChildren(noAnswer());
});
document.querySelector("#close-notice").addEventListener("click", () => notice.replaceChildren());

// ---- charts

async function drawCharts() {
  if (document.querySelector("figure[data-chart]")) (await import("/static/charts.js")).draw(document);
}

document.addEventListener("htmx:after:swap", drawCharts);
drawCharts();

// On a phone the pages' names stand in one row that scrolls: the present one is in sight.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
