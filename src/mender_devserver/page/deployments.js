import { badge, find, match, reader, say, show, slot, sure } from "./dom.js";
import { call } from "./server.js";
import { brief, clock, mood, nameOf, pairs, several, size, word } from "./words.js";

const root = find("deployments");
const dialog = find("deploy");
const ENDS = new Set(["success", "failure", "already-installed", "noartifact", "aborted", "decommissioned"]);

export function startDeployments(state) {
  const form = slot(dialog, "form");
  slot(root, "new").onclick = () => openDialog(state);
  slot(dialog, "close").onclick = () => dialog.close();
  form.onchange = () => showChoice(form);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const given = new FormData(form);
    const body = { artifact_name: given.get("artifact_name"), force: given.has("force") };
    if (given.get("to") === "some") body.device_ids = given.getAll("device");
    try {
      await call("POST", "deployments", body);
      dialog.close();
    } catch (error) {
      say(slot(dialog, "wrong"), error.message);
    }
  };
}

export function openDialog(state, artifactName) {
  const names = [...new Set(Object.values(state.artifacts).map((one) => one.artifact_name))].reverse();
  const accepted = Object.values(state.devices).filter((one) => one.status === "accepted");
  slot(dialog, "form").reset();
  slot(dialog, "artifacts").replaceChildren(...names.map((one) => new Option(one, one, false, one === artifactName)));
  slot(dialog, "devices").replaceChildren(...accepted.map(choice));
  const missing = !names.length ? "Upload an Artifact first." : !accepted.length ? "Accept a device first." : "";
  say(slot(dialog, "wrong"), missing);
  showChoice(slot(dialog, "form"));
  dialog.showModal();
}

function choice(device) {
  const label = document.createElement("label");
  const box = label.appendChild(document.createElement("input"));
  Object.assign(box, { type: "checkbox", name: "device", value: device.device_id });
  label.append(pairs(device.identity));
  return label;
}

function showChoice(form) {
  slot(dialog, "devices").hidden = form.elements.to.value !== "some";
}

export function showDeployments(state, act) {
  const deployments = Object.entries(state.deployments).reverse();
  say(slot(root, "count"), deployments.length ? String(deployments.length) : "");
  show(slot(root, "empty"), deployments.length === 0);
  match(slot(root, "list"), deployments, "deployment-card", (card, id) => {
    slot(card, "abort").onclick = () => act(async () => {
      const name = state.deployments[id].artifact_name;
      if (await sure(`Abort ${name}?`, "No device is offered it again.", "Abort")) await call("POST", `deployments/${id}/abort`);
    });
  }, (card, deployment) => fill(state, act, card, deployment));
}

function fill(state, act, card, deployment) {
  const { artifact_name: name, devices, max_devices: total, status } = deployment;
  say(slot(card, "name"), name);
  badge(slot(card, "status"), word(status), mood(status));
  say(slot(card, "summary"), `${summary(devices, total)} · made ${clock(deployment.created)} · ${brief(deployment.deployment_id)}`);
  const bar = slot(card, "bar");
  bar.value = devices.reduce((sum, one) => sum + share(one), 0) / Math.max(1, total);
  bar.setAttribute("aria-label", `${name}, all devices`);
  show(bar, status !== "finished");
  slot(card, "region").setAttribute("aria-label", `Devices of ${name}`);
  slot(card, "abort").setAttribute("aria-label", `Abort ${name}`);
  show(slot(card, "abort"), status !== "finished");
  const isBad = (one) => mood(one.status) === "bad";
  const rows = [...devices.filter(isBad), ...devices.filter((one) => !isBad(one))].map((one) => [one.device_id, one]);
  match(slot(card, "devices"), rows, "deployment-row", (row, id) => {
    slot(row, "log").onclick = () => act(() => showLog(state, deployment.deployment_id, id));
  }, (row, one) => fillRow(state, row, one, name));
}

// A device is listed once it has polled.
function summary(devices, total) {
  const counts = new Map();
  for (const { status } of devices) counts.set(word(status), (counts.get(word(status)) || 0) + 1);
  if (devices.length < total) counts.set("not polled yet", total - devices.length);
  const parts = [...counts].map(([text, count]) => (total === 1 ? text : `${count} ${text}`));
  return `${several(total, "device")}: ${parts.join(", ")}`;
}

// How far a device is: the download is most of it, as far as anybody can tell from here.
function share(one) {
  if (ENDS.has(one.status)) return 1;
  if (one.status === "downloading") return 0.9 * loaded(one);
  return one.status === "pending" ? 0 : 0.95;
}

const loaded = (one) => (one.size_bytes ? Math.min(1, one.downloaded_bytes / one.size_bytes) : 0);

function fillRow(state, row, one, deployment) {
  const name = nameOf(state, one.device_id);
  const isLoading = one.status === "downloading";
  say(slot(row, "name"), name);
  badge(slot(row, "status"), word(one.status), mood(one.status));
  const sent = one.requests > 1 ? `; ${size(one.sent_bytes)} sent in ${one.requests} requests` : "";
  slot(row, "status").title = one.received.map(word).join(" → ") + sent;
  show(slot(row, "log"), one.has_log);
  slot(row, "log").setAttribute("aria-label", `Log of ${name}, ${deployment}`);
  show(slot(row, "load"), isLoading);
  if (!isLoading) return;
  slot(row, "bar").value = loaded(one);
  slot(row, "bar").setAttribute("aria-label", `Download of ${name}`);
  say(slot(row, "share"), `${Math.floor(loaded(one) * 100)} % of ${size(one.size_bytes)}${sent}`);
}

async function showLog(state, deploymentId, deviceId) {
  const messages = await call("GET", `deployments/${deploymentId}/log?device=${deviceId}`);
  const list = document.createElement("ol");
  list.className = "log";
  for (const { timestamp, level, message } of messages) {
    const line = list.appendChild(document.createElement("li"));
    line.dataset.level = level;
    say(line, `${clock(timestamp)}  ${level.padEnd(7)}  ${message}`);
  }
  reader(`Log of ${nameOf(state, deviceId)}, ${state.deployments[deploymentId]?.artifact_name}`).append(list);
}
