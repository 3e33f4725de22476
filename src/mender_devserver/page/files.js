// File transfers to and from a device.

import { find, say, show, slot } from "./dom.js";
import { fetchFile, sendFile } from "./server.js";
import { size } from "./formatting.js";

const root = find("transfer");
let running = null;

export function openFiles(id, name) {
  say(slot(root, "title"), `Files of ${name}`);
  tell("", "");
  slot(root, "close").onclick = () => root.close();
  root.onclose = () => running?.abort();
  const download = slot(root, "download");
  const upload = slot(root, "upload");
  download.onsubmit = (event) => run(event, async (progressed, signal) => {
    const path = download.elements.path.value;
    const blob = await fetchFile(id, path, progressed, signal);
    save(blob, path.slice(path.lastIndexOf("/") + 1));
    return `${path}: ${size(blob.size)} downloaded`;
  });
  upload.onsubmit = (event) => run(event, async (progressed, signal) => {
    const [file] = upload.elements.file.files;
    const path = upload.elements.path.value;
    await sendFile(id, path, file, progressed, signal);
    return `${file.name}: ${size(file.size)} uploaded`;
  });
  root.showModal();
}

// One transfer at a time; closing the dialog aborts it.
async function run(event, job) {
  event.preventDefault();
  if (running) return;
  running = new AbortController();
  tell("", "");
  const bar = slot(root, "bar");
  bar.removeAttribute("value");
  show(bar, true);
  try {
    tell(await job((share) => { bar.value = share; }, running.signal), "");
  } catch (error) {
    tell("", error.message);
  } finally {
    running = null;
    show(bar, false);
  }
}

function tell(done, wrong) {
  say(slot(root, "done"), done);
  say(slot(root, "wrong"), wrong);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
