import { openConfiguration, refreshConfiguration } from "./configuration.js";
import { badge, fillPager, find, match, reader, say, show, slot, sure } from "./dom.js";
import { openFiles } from "./files.js";
import { call, look, looksFor } from "./server.js";
import { openTerminal } from "./terminal.js";
import { clock, tone, pairs, shown, label } from "./formatting.js";

const root = find("devices");
const MANY = 10;
const TYPED_MILLISECONDS = 200;
let shownId = "";
let shownTime = "";
const isWaiting = (device) => device.keys.includes("pending");

export function startDevices(state, act) {
  say(slot(root, "conf"), JSON.stringify({ ServerURL: location.origin }));
  slot(root, "accept-all").onclick = () => act(() => call("POST", "devices/accept"));
  let typed = 0;
  slot(root, "search").oninput = ({ target }) => {
    clearTimeout(typed);
    typed = setTimeout(() => look({ search: target.value, devices: "1" }), TYPED_MILLISECONDS);
  };
}

export function showDevices(state, act) {
  const list = state.lists.devices;
  const { all = 0, pending = 0, ...counts } = list.counts;
  say(slot(root, "count"), all ? `${all}${pending ? `, ${pending} pending` : ""}` : "");
  show(slot(root, "empty"), all === 0);
  show(slot(root, "none"), all > 0 && list.of === 0);
  show(slot(root, "accept-all"), list.new > 1);
  show(slot(root, "find"), all > MANY || looksFor("search") !== "" || looksFor("status") !== "");
  showStates({ all, pending, ...counts });
  const devices = list.ids.map((id) => [id, state.devices[id]]);
  match(slot(root, "list"), devices, "device-card", (card, id) => begin(state, act, card, id), fill);
  fillPager(slot(root, "pager"), list, "devices", (part) => {
    slot(root, "list").parentElement.scrollTop = 0;
    look({ devices: String(part) });
  });
  act(() => refreshConfiguration(state.devices));
  const open = find("show").open && state.devices[shownId];
  if (open && shownTime !== String(open.inventory_time)) act(() => fillInventory(open));
}

// Buttons with the number of devices in each status; pressing one lists only those devices.
function showStates(counts) {
  const chosen = looksFor("status") || "all";
  const entries = Object.entries(counts).filter(([status, count]) => count || status === chosen);
  match(slot(root, "states"), entries, "state-button", (button, status) => {
    button.onclick = () => look({ status: status === "all" ? "" : status, devices: "1" });
  }, (button, count) => {
    say(button, `${label(button.dataset.key)} ${count}`);
    button.setAttribute("aria-pressed", String(button.dataset.key === chosen));
  });
}

function begin(state, act, card, id) {
  const on = (name, job) => { slot(card, name).onclick = () => act(job); };
  on("accept", () => call("POST", `devices/${id}/accept`));
  on("reject", () => call("POST", `devices/${id}/reject`));
  on("inventory", () => {
    reader(`Inventory of ${pairs(state.devices[id].identity)}`, () => { shownId = ""; });
    shownId = id;
    return fillInventory(state.devices[id]);
  });
  const name = () => pairs(state.devices[id].identity);
  on("terminal", () => openTerminal(id, name()));
  on("files", () => openFiles(id, name()));
  on("configuration", () => openConfiguration(id, name()));
  on("forget", async () => {
    const text = `Its tokens are revoked and its deployments end. If it sends a request again, it is a new device.`;
    if (await sure(`Forget ${pairs(state.devices[id].identity)}?`, text, "Forget")) await call("POST", `devices/${id}/decommission`);
  });
}

function fill(card, device) {
  const runs = device.artifact_name && `runs ${shown(device.artifact_name)}`;
  const seen = device.last_seen && `seen ${clock(device.last_seen)}`;
  const name = pairs(device.identity) || "no identity";
  say(slot(card, "name"), name);
  badge(slot(card, "status"), label(device.status), tone(device.status));
  const asks = isWaiting(device) && (device.keys.length > 1 ? "requests authorisation with a new key" : "requests authorisation");
  say(slot(card, "meta"), [device.device_type && shown(device.device_type), runs, seen, asks].filter(Boolean).join(" · "));
  show(slot(card, "accept"), isWaiting(device) || device.status !== "accepted");
  show(slot(card, "terminal"), device.connected);
  show(slot(card, "files"), device.connected);
  show(slot(card, "configuration"), device.status === "accepted");
  show(slot(card, "reject"), device.status !== "rejected");
  for (const button of card.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent} ${name}`);
}

// Keep an open inventory up to date: fetch it again when the device has sent a new one.
async function fillInventory({ device_id: id, inventory_time: time }) {
  shownTime = String(time);
  const inventory = await call("GET", `devices/${id}/inventory`);
  if (shownId !== id) return;
  const attributes = Object.entries(inventory).sort(([one], [other]) => one.localeCompare(other));
  const table = document.createElement("table");
  for (const [name, value] of attributes) {
    const row = table.insertRow();
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    say(head, name);
    say(row.insertCell(), shown(value));
  }
  slot(find("show"), "content").replaceChildren(attributes.length ? table : "The device has sent no inventory.");
}
