// Makes pictures quicker to put in and to sort; every button works without it.
//
// Dropped and pasted files go into the form that they were dropped on, which is then sent as if they had been chosen.
// In the gallery, 1-9 give the chosen pictures a class, x marks them as not usable, u undoes, a takes all, y confirms;
// arrows move, the space bar chooses, Shift takes everything in between.
"use strict";

for (const node of document.querySelectorAll("[data-needs-script]")) node.hidden = false;

// ---- files

const dropZone = (target) => (target instanceof Element ? target.closest("[data-drop]") : null);
const hasFiles = (transfer) => transfer !== null && Array.from(transfer.types).includes("Files");

function give(form, files) {
  const input = form.querySelector('input[type="file"]');
  if (files.length === 0) return;
  const bag = new DataTransfer();
  for (const file of input.multiple ? files : [files[0]]) bag.items.add(file);
  input.files = bag.files;
  form.requestSubmit();
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    for (const inner of some) found.push(...(await filesIn(inner)));
  }
}

document.addEventListener("dragover", (event) => {
  const form = dropZone(event.target);
  if (form === null || !hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  form.classList.add("over");
});
document.addEventListener("dragleave", (event) => dropZone(event.target)?.classList.remove("over"));
document.addEventListener("drop", async (event) => {
  const form = dropZone(event.target);
  if (form === null || !hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  form.classList.remove("over");
  const entries = Array.from(event.dataTransfer.items, (item) => item.webkitGetAsEntry()).filter(Boolean);
  const plain = Array.from(event.dataTransfer.files);
  const files = entries.length ? (await Promise.all(entries.map(filesIn))).flat() : plain;
  give(form, files);
});
document.addEventListener("paste", (event) => {
  const form = document.querySelector("[data-drop]");
  if (form === null || !hasFiles(event.clipboardData)) return;
  event.preventDefault();
  give(form, Array.from(event.clipboardData.files));
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-send-at-once]") && event.target.files.length) event.target.form.requestSubmit();
});
document.addEventListener("submit", (event) => {
  const busy = event.target.querySelector("[data-busy]");
  if (busy) busy.hidden = false;
});

// ---- the gallery

const gallery = () => document.querySelector("[data-gallery]");
const boxes = () => Array.from(gallery()?.querySelectorAll('input[type="checkbox"]') ?? []);
let anchor = null;

function tell() {
  const chosen = boxes().filter((box) => box.checked).length;
  const text = document.querySelector("[data-chosen]");
  if (text) text.textContent = chosen === 0 ? "Nothing chosen" : `${chosen} chosen`;
}

function press(key) {
  const button = Array.from(document.querySelectorAll("button[data-key]")).find((one) => one.dataset.key === key);
  if (button === undefined || button.disabled) return false;
  if (button.dataset.needs === "chosen" && !boxes().some((box) => box.checked)) {
    const here = document.activeElement;
    if (!boxes().includes(here)) return false;
    here.checked = true; // a key means the picture one stands on, if none is chosen
  }
  button.click();
  return true;
}

function move(by) {
  const all = boxes();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
  next?.focus();
}

function columns() {
  return getComputedStyle(gallery()).gridTemplateColumns.split(" ").length;
}

document.addEventListener("keydown", (event) => {
  if (gallery() === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target;
  if (field.matches("input:not([type=checkbox]), select, textarea")) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
  if (event.key in steps && (boxes().includes(field) || field === document.body)) {
    move(steps[event.key]);
    if (event.shiftKey && boxes().includes(document.activeElement)) document.activeElement.checked = true;
    tell();
  } else if (event.key === "a") {
    const all = boxes();
    const every = all.every((box) => box.checked);
    for (const box of all) box.checked = !every;
    tell();
  } else if (event.key === "Escape") {
    for (const box of boxes()) box.checked = false;
    tell();
  } else if (!press(event.key)) {
    return;
  }
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const box = event.target.closest?.('[data-gallery] input[type="checkbox"]');
  if (!box) return;
  const all = boxes();
  if (event.shiftKey && anchor && all.includes(anchor)) {
    const [from, to] = [all.indexOf(anchor), all.indexOf(box)].sort((one, other) => one - other);
    for (const between of all.slice(from, to + 1)) between.checked = box.checked;
  }
  anchor = box;
  tell();
});

tell();
