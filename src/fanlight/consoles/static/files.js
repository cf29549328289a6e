// Makes files quicker to put in; every form works without it.
//
// Dropped and pasted files, and those from the camera and from folders, go into the page's form for files, wherever on
// the page they are dropped; while they are dragged over it, the whole page says what becomes of them (data-drop). The
// files of a form marked data-upload are sent by upload.js; any other is sent as if they had been chosen in it.
"use strict";

// ---- what is dropped, pasted or chosen: {file, path}, the path with the folders that it came in; file is null where it
//      cannot be read

const named = (file) => ({ file, path: file.webkitRelativePath || file.name });
const formForFiles = () => document.querySelector("[data-drop]");
const hasFiles = (transfer) => transfer !== null && Array.from(transfer.types).includes("Files");

async function filesIn(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  const found = [];
  try {
    if (entry.isFile) return [{ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path }];
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return found;
      for (const inner of some) found.push(...(await filesIn(inner)));
    }
  } catch {
    return [...found, { file: null, path }]; // what is wrong with one stops no other
  }
}

function give(form, files) {
  if (files.length === 0) return;
  if (form.matches("[data-upload]")) {
    upload(form, files);
    return;
  }
  const input = form.querySelector('input[type="file"]');
  const readable = files.filter(({ file }) => file !== null);
  const bag = new DataTransfer();
  for (const { file } of input.multiple ? readable : readable.slice(0, 1)) bag.items.add(file);
  input.files = bag.files;
  form.requestSubmit();
}

const over = (text) => {
  if (text) document.body.dataset.dropping = text;
  else delete document.body.dataset.dropping;
};
document.addEventListener("dragover", (event) => {
  if (formForFiles() === null || !hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  over(formForFiles().dataset.drop);
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) over(""); // out of the window
});
document.addEventListener("drop", async (event) => {
  over("");
  if (formForFiles() === null || !hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  const entries = Array.from(event.dataTransfer.items, (item) => item.webkitGetAsEntry()).filter(Boolean);
  const loose = Array.from(event.dataTransfer.files, named);
  give(formForFiles(), entries.length ? (await Promise.all(entries.map(filesIn))).flat() : loose);
});
document.addEventListener("paste", (event) => {
  if (formForFiles() === null || !hasFiles(event.clipboardData)) return;
  event.preventDefault();
  give(formForFiles(), Array.from(event.clipboardData.files, named));
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-send-at-once]") && event.target.files.length) event.target.form.requestSubmit();
});
document.addEventListener(
  "submit",
  (event) => {
    if (!event.target.matches("[data-upload]")) return;
    const inputs = Array.from(event.target.querySelectorAll('input[type="file"]'));
    const files = inputs.flatMap((input) => Array.from(input.files, named));
    if (files.length === 0 && !uploading()) return; // the server says what is missing
    event.preventDefault();
    event.stopImmediatePropagation(); // before anybody else sends it
    for (const input of inputs) input.value = ""; // a second press sends nothing twice
    give(event.target, files);
  },
  true,
);
