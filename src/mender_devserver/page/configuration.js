// The configuration of a device: the desired one, and the one that the device reports.

import { badge, find, make, say, slot } from "./dom.js";
import { call } from "./server.js";

const root = find("configuration");
const form = slot(root, "form");
const rows = slot(root, "rows");
let shown = "";
let told = "";

export async function openConfiguration(id, name) {
  shown = id;
  say(slot(root, "title"), `Configuration of ${name}`);
  say(slot(root, "wrong"), "");
  slot(root, "add").onclick = () => addRow("", "").querySelector("input").focus();
  slot(root, "close").onclick = () => root.close();
  root.onclose = () => { shown = ""; };
  form.onsubmit = (event) => {
    event.preventDefault();
    return save(id, event.submitter?.value === "deploy");
  };
  const found = await call("GET", `devices/${id}/configuration`);
  rows.replaceChildren();
  for (const [key, value] of Object.entries(found.configured)) addRow(key, value);
  if (!rows.childElementCount) addRow("", "");
  showReported(found);
  root.showModal();
}

// The reported configuration is updated while the dialog is open.
export async function refreshConfiguration(devices) {
  const device = devices[shown];
  if (!root.open || !device || device.reported_time === told) return;
  told = device.reported_time;
  showReported(await call("GET", `devices/${device.device_id}/configuration`));
}

async function save(id, deploys) {
  say(slot(root, "wrong"), "");
  try {
    const configuration = collect();
    await call(deploys ? "POST" : "PUT", `devices/${id}/configuration`, { configuration });
    showReported(await call("GET", `devices/${id}/configuration`));
  } catch (error) {
    say(slot(root, "wrong"), error.message);
  }
}

function collect() {
  const configuration = {};
  for (const row of rows.children) {
    const [key, value] = [...row.querySelectorAll("input")].map((one) => one.value);
    if (!key && !value) continue;
    if (!key) throw new Error(`cannot save a value without a key: "${value}"`);
    if (Object.hasOwn(configuration, key)) throw new Error(`cannot save key "${key}" twice`);
    configuration[key] = value;
  }
  return configuration;
}

function addRow(key, value) {
  const row = make("configuration-row");
  slot(row, "key").value = key;
  slot(row, "value").value = value;
  slot(row, "remove").onclick = () => {
    const beside = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    (beside ? slot(beside, "remove") : slot(root, "add")).focus();
  };
  rows.append(row);
  return row;
}

function showReported({ configured, reported }) {
  const keys = Object.keys({ ...configured, ...(reported || {}) }).sort();
  const isEqual = reported !== null && keys.every((key) => configured[key] === reported[key]);
  const state = slot(root, "state");
  if (reported === null) badge(state, "nothing reported yet", "wait");
  else if (isEqual) badge(state, "equal to what is reported", "good");
  else badge(state, "differs from what is reported", "wait");
  const table = document.createElement("table");
  say(table.createCaption(), "Reported by the device");
  for (const key of keys) {
    const row = table.insertRow();
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    say(head, key);
    say(row.insertCell(), reported?.[key] ?? "not reported");
  }
  slot(root, "reported").replaceChildren(...(keys.length ? [table] : []));
}
