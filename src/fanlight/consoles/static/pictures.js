// Makes pictures quicker to sort; every button works without it.
//
// 1-9 give the chosen pictures a class, x marks them as not usable, u undoes, a takes all, y confirms; arrows move, the
// space bar chooses, Shift (or holding a finger) takes everything in between, Enter or a double click opens. On a
// picture's own page the same keys mean that picture, and arrows lead to the next one.
"use strict";

const HOLD_MS = 450;

const gallery = () => document.querySelector("[data-gallery]");
const boxes = () => Array.from(gallery()?.querySelectorAll('.tile-picture input[type="checkbox"]') ?? []);
const tileOf = (target) => (target instanceof Element ? target.closest("[data-gallery] .tile-picture") : null);
const boxIn = (tile) => tile?.querySelector('input[type="checkbox"]') ?? null;
const open = (tile) => tile.querySelector("a.open").click();
let anchor = null;

// Who speaks to the computer, or strikes a key by mistake, can switch single keys off (WCAG 2.2, criterion 2.1.4).
const KEYS_OFF = "fanlight-keys-off";
const keysOff = () => localStorage.getItem(KEYS_OFF) !== null;

function showKeys() {
  const box = document.querySelector("[data-keys-on]");
  if (box) box.checked = !keysOff();
}

document.addEventListener("change", ({ target }) => {
  if (!target.matches?.("[data-keys-on]")) return;
  if (target.checked) localStorage.removeItem(KEYS_OFF);
  else localStorage.setItem(KEYS_OFF, "yes");
});

function tell() {
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  const text = document.querySelector("[data-chosen]");
  const told = chosen === 0 ? "Nothing chosen" : `${chosen} chosen`;
  if (text && text.textContent !== told) text.textContent = told;
  document.querySelector("[data-choose-all]")?.setAttribute("aria-pressed", String(chosen > 0 && chosen === all.length));
}

function chooseAll() {
  const all = boxes();
  const every = all.every((box) => box.checked);
  for (const box of all) box.checked = !every;
  tell();
}

function chooseTo(box) {
  const all = boxes();
  if (anchor && all.includes(anchor)) {
    const [from, to] = [all.indexOf(anchor), all.indexOf(box)].sort((one, other) => one - other);
    for (const between of all.slice(from, to + 1)) between.checked = box.checked;
  }
}

function press(key) {
  const found = Array.from(document.querySelectorAll("[data-key]")).find((one) => one.dataset.key === key);
  if (found === undefined || found.disabled) return false;
  if (found.dataset.needs === "chosen" && !boxes().some((box) => box.checked)) {
    const here = document.activeElement;
    if (!boxes().includes(here)) return false;
    here.checked = true; // a key means the picture one stands on, if none is chosen
  }
  found.click();
  return true;
}

function columns() {
  return getComputedStyle(gallery().querySelector(".gallery")).gridTemplateColumns.split(" ").length;
}

function move(by, extend) {
  const all = boxes();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
  if (extend && at >= 0) all[at].checked = next.checked = true;
  next?.focus();
  tell();
}

function inGallery(event) {
  const here = boxes().includes(event.target);
  if (event.key.startsWith("Arrow") && boxes().length && (here || event.target === document.body)) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
    move(steps[event.key], event.shiftKey);
  } else if (event.key === "Enter" && here) {
    open(tileOf(event.target));
  } else if (event.key === "Escape" && boxes().some((box) => box.checked)) {
    for (const box of boxes()) box.checked = false;
    tell();
  } else {
    return false;
  }
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (inGallery(event) || (!keysOff() && press(event.key))) event.preventDefault();
});

document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-choose-all]")) chooseAll();
  const box = event.target.closest?.('[data-gallery] .tile-picture input[type="checkbox"]');
  if (!box) return;
  if (event.shiftKey) chooseTo(box);
  anchor = box;
  tell();
});

document.addEventListener("dblclick", (event) => {
  const tile = tileOf(event.target);
  if (tile && event.target.closest("label")) open(tile);
});

// ---- a finger that is held takes everything since the last picture that was chosen

let held = null;

document.addEventListener("pointerdown", (event) => {
  held = null; // some browsers send no click after a finger that was held: it must not swallow the next one
  const box = boxIn(tileOf(event.target));
  if (box === null || event.pointerType !== "touch") return;
  held = setTimeout(() => {
    held = "done";
    box.checked = true;
    chooseTo(box);
    anchor = box;
    navigator.vibrate?.(15);
    tell();
  }, HOLD_MS);
});
for (const end of ["pointerup", "pointercancel", "pointermove"]) {
  document.addEventListener(end, (event) => {
    if (typeof held === "number" && (end !== "pointermove" || Math.hypot(event.movementX, event.movementY) > 4)) {
      clearTimeout(held);
      held = null;
    }
  });
}
document.addEventListener("contextmenu", (event) => {
  if (held !== null && tileOf(event.target)) event.preventDefault(); // the browser's own menu of a picture
});
document.addEventListener(
  "click",
  (event) => {
    if (held !== "done") return;
    held = null;
    event.preventDefault(); // the finger was lifted: what was taken stays
    event.stopPropagation();
  },
  true,
);

// ---- one goes on while what was chosen is under way

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  if (ctx.sourceElement !== gallery()) return;
  ctx.emptied = boxes().filter((box) => box.checked);
  for (const box of ctx.emptied) box.checked = false;
  tell();
});
document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
  if (!ctx.emptied || ctx.response?.raw.ok) return;
  for (const box of ctx.emptied) box.checked = true; // nothing came of it
  tell();
});
document.addEventListener("htmx:after:swap", () => {
  tell(); // what is chosen may have gone
  showKeys();
});
tell();
showKeys();
