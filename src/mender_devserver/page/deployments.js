import { badge, fillPager, find, match, reader, say, show, slot, sure } from "./dom.js";
import { call, look } from "./server.js";
import { shortId, clock, tone, nameOf, pairs, counted, size, label } from "./formatting.js";

const root = find("deployments");
const dialog = find("deploy");
const MOST_CHOICES = 50; // as many as the server sends
const TYPED_MILLISECONDS = 200;

export function startDeployments(state) {
  const form = slot(dialog, "form");
  slot(root, "new").onclick = () => openDialog(state);
  slot(dialog, "close").onclick = () => dialog.close();
  for (const one of form.elements.to) one.onchange = () => showChoice(form);
  let typed = 0;
  slot(dialog, "search").oninput = () => {
    clearTimeout(typed);
    typed = setTimeout(() => showChoice(form), TYPED_MILLISECONDS);
  };
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
  slot(dialog, "form").reset();
  slot(dialog, "artifacts").replaceChildren(...names.map((one) => new Option(one, one, false, one === artifactName)));
  slot(dialog, "devices").replaceChildren();
  const missing = !names.length ? "Upload an Artifact first." : !state.lists.devices.counts.accepted ? "Accept a device first." : "";
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

// The devices to choose from; chosen devices stay in the list while the user searches for others.
async function showChoice(form) {
  const isOpen = form.elements.to.value === "some";
  slot(dialog, "choose").hidden = !isOpen;
  if (!isOpen) return;
  const wanted = slot(dialog, "search").value;
  const query = new URLSearchParams({ status: "accepted", part: "1", search: wanted });
  try {
    const found = await call("GET", `devices?${query}`);
    if (wanted !== slot(dialog, "search").value) return;
    const list = slot(dialog, "devices");
    const chosen = [...list.children].filter((one) => one.firstElementChild.checked);
    const ids = new Set(chosen.map((one) => one.firstElementChild.value));
    list.replaceChildren(...chosen, ...found.filter((one) => !ids.has(one.device_id)).map(choice));
    say(slot(dialog, "more"), found.length < MOST_CHOICES ? "" : `These are the first ${MOST_CHOICES}; search for others.`);
  } catch (error) {
    say(slot(dialog, "wrong"), error.message);
  }
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
  const { deployment_id: deploymentId, artifact_name: name, devices, status } = deployment;
  say(slot(card, "name"), name);
  badge(slot(card, "status"), label(status), tone(status));
  say(slot(card, "summary"), `${summary(deployment)} · created ${clock(deployment.created)} · ${shortId(deploymentId)}`);
  const bar = slot(card, "bar");
  bar.value = deployment.share;
  bar.setAttribute("aria-label", `${name}, all devices`);
  show(bar, status !== "finished");
  slot(card, "region").setAttribute("aria-label", `Devices of ${name}`);
  slot(card, "abort").setAttribute("aria-label", `Abort ${name}`);
  show(slot(card, "abort"), status !== "finished");
  match(slot(card, "devices"), devices.map((one) => [one.device_id, one]), "deployment-row", (row, id) => {
    slot(row, "log").onclick = () => act(() => showLog(state, deploymentId, id));
  }, (row, one) => fillRow(row, one, name));
  fillPager(slot(card, "pager"), deployment.list, `devices of ${name}`, (part) => {
    slot(card, "region").scrollTop = 0;
    look({ [deploymentId]: String(part) });
  });
}

// A device is listed after its first update poll.
function summary({ counts, max_devices: total, list }) {
  const waiting = list.of < total ? [["not polled yet", total - list.of]] : [];
  const parts = [...Object.entries(counts), ...waiting].map(([text, count]) => (total === 1 ? label(text) : `${count} ${label(text)}`));
  return `${counted(total, "device")}: ${parts.join(", ")}`;
}

const loaded = (one) => (one.size_bytes ? Math.min(1, one.downloaded_bytes / one.size_bytes) : 0);

function fillRow(row, one, deployment) {
  const name = nameOf(one.identity, one.device_id);
  const isLoading = one.status === "downloading";
  say(slot(row, "name"), name);
  badge(slot(row, "status"), label(one.status), tone(one.status));
  const sent = one.requests > 1 ? `; ${size(one.sent_bytes)} sent in ${one.requests} requests` : "";
  slot(row, "status").title = one.received.map(label).join(" → ") + sent;
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
  const deployment = state.deployments[deploymentId];
  const identity = deployment?.devices.find((one) => one.device_id === deviceId)?.identity;
  reader(`Log of ${nameOf(identity, deviceId)}, ${deployment?.artifact_name}`).append(list);
}
