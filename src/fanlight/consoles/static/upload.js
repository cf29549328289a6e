// Sends the files of a form marked data-upload in several requests of bounded size, says how far it is, and can be
// stopped; files.js gives it what is chosen, dropped or pasted, as {file, path}, file being null if it cannot be read.
//
// One lot goes on at a time: what comes meanwhile waits, and the panel says so. A file that cannot be read (any more),
// or that is too large, is left out and named, and stops no other.
"use strict";

const MOST_FILES = 40; // in one request
const MOST_BYTES = 24 * 1024 * 1024; // in one request, unless a single file is larger
const LONGEST_PATH = 1000; // its end is what matters
const MOST_NAMED = 20;

const queue = []; // lots that wait: {files, chosen}, what they show as the form said when they came
let running = false;
let halted = false; // stopped, with a button to go on

const uploading = () => running || halted;
const plain = (name) => name.normalize("NFC").toLowerCase();
const figure = (number) => number.toLocaleString("en");
const count = (number, what) => `${figure(number)} ${what}${number === 1 ? "" : "s"}`;
const bytesOf = (files) => files.reduce((sum, { file }) => sum + (file?.size ?? 0), 0);
const waiting = () => queue.reduce((sum, { files }) => sum + files.length, 0);

function upload(form, files) {
  queue.push({ files: Array.from(files), chosen: form.elements.label?.value ?? "" });
  if (uploading()) tellWaiting(form);
  else work(form, { name: form.elements.upload.value, done: 0, skipped: [], shown: "" });
}

window.addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});

// ---- the panel

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function button(text, onclick, attributes = {}) {
  const made = element("button", text, { type: "button", ...attributes });
  made.addEventListener("click", onclick);
  return made;
}

function show(form, ...parts) {
  const panel = form.querySelector("[data-uploading]");
  panel.replaceChildren(...parts, element("p", "", { role: "status", "data-waiting": "" }));
  panel.hidden = false;
  tellWaiting(form);
  panel.querySelector("[data-first]")?.focus();
}

function tellWaiting(form) {
  const number = waiting();
  const told = form.querySelector("[data-waiting]");
  told.hidden = number === 0 || halted;
  told.textContent = told.hidden ? "" : `${count(number, "more file")} ${number === 1 ? "waits" : "wait"}: sent after these.`;
  if (halted) form.querySelector("[data-go-on]").textContent = `Go on with the other ${figure(number)}`;
}

const linkTo = (shown, attributes = {}) =>
  shown ? [element("a", "Show what is in", { href: shown, class: "button", ...attributes })] : [];

// ---- lot after lot; run says how many files are done, which were skipped and why, and where what is in is shown; its
//      name stays, whatever the page, which is kept fresh, would call the next one

async function work(form, run) {
  running = true;
  halted = false;
  try {
    while (queue.length) {
      const lot = queue.shift();
      try {
        lot.label ??= await askOfFolders(form, lot);
        await sendAll(form, lot, run);
      } catch (error) {
        queue.unshift(lot);
        throw error;
      }
    }
  } catch (error) {
    halt(form, run, error);
    return;
  } finally {
    running = false;
  }
  if (run.skipped.length) tellSkipped(form, run);
  else location.assign(run.shown);
}

function halt(form, run, error) {
  halted = true;
  const all = run.done + run.skipped.length + waiting();
  const through = `${count(run.done, "file")} of ${figure(all)} went through before; what was under way may be in, too. Nothing is taken twice.`;
  show(
    form,
    element("p", `${error.message || "The device refused."} ${through}`, { role: "alert" }),
    button("", () => work(form, run), { class: "primary", "data-first": "", "data-go-on": "" }),
    ...linkTo(run.shown),
  );
}

function tellSkipped(form, { skipped, shown }) {
  const list = element("ul", "", { class: "plain-list" });
  for (const { path, why } of skipped.slice(0, MOST_NAMED)) {
    const line = element("li", "");
    line.append(element("bdi", path, { class: "name" }), ` ${why}`);
    list.append(line);
  }
  if (skipped.length > MOST_NAMED) list.append(element("li", `and ${figure(skipped.length - MOST_NAMED)} more.`));
  const told = `${count(skipped.length, "file")} ${skipped.length === 1 ? "was" : "were"} not sent${shown ? "; all others are in" : ""}:`;
  show(form, element("p", told, { role: "alert" }), list, ...linkTo(shown, { "data-first": "" }));
}

// Folders may be named like classes; then the owner is asked whether that is what they mean.
function askOfFolders(form, { files, chosen }) {
  const select = form.elements.label;
  if (!select || chosen !== "") return chosen;
  const byFolder = select.options[1].value;
  const classes = new Map(Array.from(select.options).slice(2).map((option) => [plain(option.value), option.value]));
  const counts = new Map();
  for (const { path } of files) {
    const folder = path.split("/").slice(0, -1).reverse().find((part) => classes.has(plain(part)));
    if (folder === undefined) continue;
    const name = classes.get(plain(folder));
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size === 0) return "";
  const some = Array.from(counts, ([name, number]) => `${name} (${figure(number)})`);
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

// ---- one lot, in several requests; what is left of it stays in lot.files

async function sendAll(form, lot, run) {
  const fields = { csrf: form.elements.csrf.value, upload: run.name, label: lot.label };
  const all = { files: lot.files.length, bytes: bytesOf(lot.files) };
  const stop = new AbortController();
  const bar = element("progress", "", { max: "1", value: "0", "aria-label": "Put in" });
  const text = element("p", "", { role: "status" });
  const tell = (sent) => {
    bar.value = all.bytes ? (all.bytes - bytesOf(lot.files) + sent) / all.bytes : 0;
    text.textContent = `${figure(all.files - lot.files.length)} of ${count(all.files, "file")}, ${Math.floor(100 * bar.value)} %`;
  };
  show(form, text, bar, button("Stop", () => stop.abort(), { "data-first": "" }));
  while (lot.files.length) {
    tell(0);
    const next = nextOf(lot.files);
    const faults = await Promise.all(next.map((one) => faultOf(form, one)));
    next.forEach(({ path }, at) => faults[at] && run.skipped.push({ path, why: faults[at] }));
    const batch = next.filter((_one, at) => !faults[at]);
    lot.files.splice(0, next.length, ...batch);
    if (batch.length === 0) continue;
    const size = bytesOf(batch);
    try {
      const answer = await send(form, fields, batch, (sent) => tell(Math.min(sent, size)), stop.signal);
      run.shown = answer.show;
    } catch (error) {
      const since = error.unanswered ? await Promise.all(batch.map((one) => faultOf(form, one))) : [];
      if (since.some(Boolean)) continue; // a file went while it was sent: the others have to go once more
      throw error;
    }
    run.done += batch.length;
    lot.files.splice(0, batch.length);
  }
}

function nextOf(files) {
  let bytes = 0;
  const most = files.slice(0, MOST_FILES);
  const end = most.findIndex(({ file }) => (bytes += file?.size ?? 0) > MOST_BYTES);
  return end < 0 ? most : most.slice(0, Math.max(end, 1));
}

// Why a file cannot be sent; empty if it can. Only reading shows that one was moved away since it was chosen.
async function faultOf(form, { file, path }) {
  if (file === null) return "cannot be read.";
  const [most, advice] = plain(path).endsWith(".zip")
    ? [form.dataset.mostBytes, "divide it into several"]
    : [form.dataset.mostPictureBytes, "save it smaller, as JPEG"];
  if (file.size > Number(most)) return `is too large: ${advice}.`;
  try {
    await (file.size ? file.slice(0, 1) : file).arrayBuffer(); // a file that has gone may count as empty
    return "";
  } catch {
    return "cannot be read any more: was it moved, renamed or changed? Choose it again.";
  }
}

function send(form, fields, files, onprogress, stop) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    // of a file without bytes, nothing is left to be read: no reason to fail if it is gone
    for (const { file, path } of files) body.append("files", file.size ? file : new Blob(), path.slice(-LONGEST_PATH));
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onprogress(event.loaded));
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(request.response);
      else reject(new Error([request.response?.error?.message, request.response?.error?.next].filter(Boolean).join(" ")));
    });
    const silent = new Error("The device did not answer. Look whether it still runs.");
    request.addEventListener("error", () => reject(Object.assign(silent, { unanswered: true })));
    request.addEventListener("abort", () => reject(new Error("Stopped.")));
    stop.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}
