import { badge, find, match, reader, say, show, slot, sure } from "./dom.js";
import { call } from "./server.js";
import { clock, mood, pairs, shown, word } from "./words.js";

const root = find("devices");
let shownId = "";
const isNew = (device) => device.status === "pending";
const isWaiting = (device) => device.auth_sets.some((one) => one.status === "pending");

export function startDevices(state, act) {
  say(slot(root, "conf"), JSON.stringify({ ServerURL: location.origin }));
  slot(root, "accept-all").onclick = () => act(async () => {
    for (const one of Object.values(state.devices).filter(isNew)) await call("POST", `devices/${one.device_id}/accept`);
  });
}

export function showDevices(state, act) {
  const devices = Object.values(state.devices);
  const waiting = devices.filter(isWaiting).length;
  say(slot(root, "count"), devices.length ? `${devices.length}${waiting ? `, ${waiting} pending` : ""}` : "");
  show(slot(root, "empty"), devices.length === 0);
  show(slot(root, "accept-all"), devices.filter(isNew).length > 1);
  match(slot(root, "list"), Object.entries(state.devices), "device-card", (card, id) => begin(state, act, card, id), fill);
  if (find("show").open && state.devices[shownId]) fillInventory(state.devices[shownId]);
}

function begin(state, act, card, id) {
  const on = (name, job) => { slot(card, name).onclick = () => act(job); };
  on("accept", () => call("POST", `devices/${id}/accept`));
  on("reject", () => call("POST", `devices/${id}/reject`));
  on("inventory", () => {
    reader(`Inventory of ${pairs(state.devices[id].identity)}`, () => { shownId = ""; });
    shownId = id;
    fillInventory(state.devices[id]);
  });
  on("forget", async () => {
    const text = `Its tokens are revoked and its deployments end. If it sends a request again, it is a new device.`;
    if (await sure(`Forget ${pairs(state.devices[id].identity)}?`, text, "Forget")) await call("POST", `devices/${id}/decommission`);
  });
}

function fill(card, device) {
  const { inventory } = device;
  const runs = inventory.artifact_name && `runs ${shown(inventory.artifact_name)}`;
  const seen = device.last_seen && `seen ${clock(device.last_seen)}`;
  const name = pairs(device.identity) || "no identity";
  say(slot(card, "name"), name);
  badge(slot(card, "status"), word(device.status), mood(device.status));
  const asks = isWaiting(device) && (device.auth_sets.length > 1 ? "asks for access with a new key" : "asks for access");
  say(slot(card, "meta"), [inventory.device_type && shown(inventory.device_type), runs, seen, asks].filter(Boolean).join(" · "));
  show(slot(card, "accept"), isWaiting(device) || device.status !== "accepted");
  show(slot(card, "reject"), device.status !== "rejected");
  for (const button of card.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent} ${name}`);
}

// What is open stays live; a table that has not changed is left alone.
function fillInventory({ inventory }) {
  const content = slot(find("show"), "content");
  const text = JSON.stringify(inventory);
  if (content.dataset.shown === text) return;
  content.dataset.shown = text;
  const attributes = Object.entries(inventory).sort(([one], [other]) => one.localeCompare(other));
  const table = document.createElement("table");
  for (const [name, value] of attributes) {
    const row = table.insertRow();
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    say(head, name);
    say(row.insertCell(), shown(value));
  }
  content.replaceChildren(attributes.length ? table : "The device has sent no inventory.");
}
