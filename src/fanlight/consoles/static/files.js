// Makes files quicker to put in; every form works without it.
//
// Dropped and pasted files, and those from the camera and from folders, go into the page's form for files, wherever on
// the page they are dropped; while they are dragged over it, the whole page says what becomes of them (data-drop). A
// form marked data-upload sends them in several requests of bounded size, says how far it is, and can be stopped; any
// other is sent as if they had been chosen in it.
"use strict";

const MOST_FILES = 40; // in one request
const LONGEST_PATH = 1000; // its end is what matters
const MOST_BYTES = 24 * 1024 * 1024;

// ---- what is dropped, pasted or chosen: {file, path}, the path with the folders that it came in

const named = (file) => ({ file, path: file.webkitRelativePath || file.name });
const formForFiles = () => document.querySelector("[data-drop]");
const hasFiles = (transfer) => transfer !== null && Array.from(transfer.types).includes("Files");

async function filesIn(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    for (const inner of some) found.push(...(await filesIn(inner)));
  }
}

function give(form, files) {
  if (files.length === 0) return;
  if (form.matches("[data-upload]")) {
    upload(form, files);
    return;
  }
  const input = form.querySelector('input[type="file"]');
  const bag = new DataTransfer();
  for (const { file } of input.multiple ? files : [files[0]]) bag.items.add(file);
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
  const plain = Array.from(event.dataTransfer.files, named);
  give(formForFiles(), entries.length ? (await Promise.all(entries.map(filesIn))).flat() : plain);
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
    if (files.length === 0) return; // the server says what is missing
    event.preventDefault();
    event.stopImmediatePropagation(); // before anybody else sends it
    upload(event.target, files);
  },
  true,
);

// ---- an upload

let running = false;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function show(form, ...parts) {
  const panel = form.querySelector("[data-uploading]");
  panel.replaceChildren(...parts);
  panel.hidden = parts.length === 0;
  panel.querySelector("[data-first]")?.focus();
}

function button(text, onclick, attributes = {}) {
  const made = element("button", text, { type: "button", ...attributes });
  made.addEventListener("click", onclick);
  return made;
}

const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

function batches(files) {
  const found = [];
  let bytes = Infinity;
  for (const one of files) {
    const last = found[found.length - 1];
    bytes += one.file.size;
    if (last === undefined || last.length >= MOST_FILES || bytes > MOST_BYTES) {
      found.push([one]);
      bytes = one.file.size;
    } else {
      last.push(one);
    }
  }
  return found;
}

// Folders may be named like classes; then the owner is asked whether that is what they mean.
function askOfFolders(form, files) {
  const select = form.elements.label;
  if (!select || select.value !== "") return Promise.resolve(select?.value ?? "");
  const byFolder = select.options[1].value;
  const classes = new Map(Array.from(select.options).slice(2).map((option) => [plain(option.value), option.value]));
  const counts = new Map();
  for (const { path } of files) {
    const folder = path.split("/").slice(0, -1).reverse().find((part) => classes.has(plain(part)));
    if (folder === undefined) continue;
    const name = classes.get(plain(folder));
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size === 0) return Promise.resolve("");
  const some = Array.from(counts, ([name, number]) => `${name} (${number.toLocaleString("en")})`);
  const list = some.slice(0, 8).join(", ") + (some.length > 8 ? ", …" : "");
  return new Promise((resolve) => {
    show(
      form,
      element("p", `Folders are named like classes: ${list}. Do their pictures show that?`),
      button("Yes, label them so", () => resolve(byFolder), { class: "primary", "data-first": "" }),
      button("No, without labels", () => resolve("")),
    );
  });
}

const plain = (name) => name.normalize("NFC").toLowerCase();

function send(form, fields, files, onprogress, stop) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    for (const { file, path } of files) body.append("files", file, path.slice(-LONGEST_PATH));
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onprogress(event.loaded));
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(request.response);
      else reject(new Error([request.response?.error?.message, request.response?.error?.next].filter(Boolean).join(" ")));
    });
    request.addEventListener("error", () => reject(new Error("The device did not answer. Look whether it still runs.")));
    request.addEventListener("abort", () => reject(new Error("Stopped.")));
    stop.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

async function upload(form, files) {
  if (running) return;
  running = true;
  try {
    const label = await askOfFolders(form, files);
    const fields = { csrf: form.elements.csrf.value, upload: form.elements.upload.value, label };
    await sendAll(form, fields, files, "");
  } finally {
    running = false;
  }
}

async function sendAll(form, fields, files, shown) {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  const stop = new AbortController();
  const bar = element("progress", "", { max: "1", value: "0", "aria-label": "Put in" });
  const text = element("p", "", { role: "status" });
  const tell = (done, bytes) => {
    bar.value = total ? bytes / total : 0;
    text.textContent = `${done.toLocaleString("en")} of ${count(files.length, "file")}, ${Math.floor(100 * bar.value)} %`;
  };
  show(form, text, bar, button("Stop", () => stop.abort(), { "data-first": "" }));
  let done = 0;
  let bytes = 0;
  try {
    for (const batch of batches(files)) {
      tell(done, bytes);
      const size = batch.reduce((sum, { file }) => sum + file.size, 0);
      const answer = await send(form, fields, batch, (sent) => tell(done, bytes + Math.min(sent, size)), stop.signal);
      shown = answer.show;
      done += batch.length;
      bytes += size;
    }
    running = false;
    location.assign(shown);
  } catch (error) {
    const rest = files.slice(done);
    const again = () => {
      running = true;
      sendAll(form, fields, rest, shown).finally(() => (running = false));
    };
    show(
      form,
      element("p", `${error.message || "The device refused."} ${count(done, "file")} of ${files.length.toLocaleString("en")} went through before; what was under way may be in, too. Nothing is taken twice.`, { role: "alert" }),
      button(`Go on with the other ${rest.length.toLocaleString("en")}`, again, { class: "primary", "data-first": "" }),
      ...(shown ? [element("a", "Show what is in", { href: shown, class: "button" })] : []),
    );
  }
}

window.addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});
