// The page: merges the messages of the feed into one state, and updates the parts that have changed.

import { showArtifacts, startArtifacts } from "./artifacts.js";
import { openDialog, showDeployments, startDeployments } from "./deployments.js";
import { showDevices, startDevices } from "./devices.js";
import { badge, complain, find, match, say, show, slot } from "./dom.js";
import { showFaults, showSettings, startFaults, startSettings } from "./faults.js";
import { hasToken, listen, takeToken } from "./server.js";
import { clock, sentence, ANNOUNCED } from "./formatting.js";

const SHOWN_EVENTS = 200;
const state = { devices: {}, lists: {}, artifacts: {}, deployments: {}, faults: {}, settings: {} };
let timeline = [];

// Run an action of the user, and show its error if it fails.
async function act(job) {
  find("problem").hidden = true;
  try {
    await job();
  } catch (error) {
    complain(error.message);
  }
}

function take({ first, changed, events }) {
  if (first) {
    for (const part of Object.values(state)) for (const key of Object.keys(part)) delete part[key];
    timeline = [];
  }
  for (const [part, things] of Object.entries(changed)) {
    for (const [key, thing] of Object.entries(things)) {
      if (thing === null && part !== "settings") delete state[part][key];
      else state[part][key] = thing;
    }
  }
  const has = (...parts) => first || parts.some((part) => part in changed);
  if (has("devices", "lists")) showDevices(state, act);
  if (has("artifacts")) showArtifacts(state, act, (name) => openDialog(state, name));
  if (has("deployments")) showDeployments(state, act);
  if (has("faults")) showFaults(state);
  if (has("settings")) showSettings(state.settings);
  if (events.length || first) showEvents(events, first);
}

function showEvents(events, first) {
  const told = events.map((event) => [String(event.number), { ...event, text: sentence(state, event) }]);
  timeline = [...told.reverse(), ...timeline].slice(0, SHOWN_EVENTS);
  show(slot(find("timeline"), "empty"), timeline.length === 0);
  match(slot(find("timeline"), "list"), timeline, "event-line", () => {}, (line, event) => {
    say(slot(line, "time"), clock(event.time));
    say(slot(line, "text"), event.text);
  });
  if (first) return;
  const worth = told.filter(([, event]) => ANNOUNCED.has(event.name)).map(([, event]) => event.text).reverse();
  if (worth.length > 3) worth.splice(0, worth.length - 3, `${worth.length - 3} changes`);
  if (worth.length) say(find("said"), worth.join(". "));
}

function ask(text) {
  const dialog = find("enter");
  badge(find("connection"), "closed", "wait");
  say(slot(dialog, "wrong"), text);
  dialog.oncancel = (event) => event.preventDefault();
  slot(dialog, "form").onsubmit = (event) => {
    event.preventDefault();
    takeToken(event.target.elements.token.value);
    event.target.reset();
    dialog.close();
    follow();
  };
  if (!dialog.open) dialog.showModal();
}

function follow() {
  const connection = find("connection");
  listen({
    onMessage: take,
    onLive: () => badge(connection, "live", "good"),
    onBroken: () => badge(connection, "no connection, trying again", "bad"),
    onRefused: () => ask("The token is missing or wrong; a restarted server has a new one."),
  });
}

slot(find("problem"), "close").onclick = () => { find("problem").hidden = true; };
startDevices(state, act);
startArtifacts();
startDeployments(state);
startFaults(act);
startSettings(act);
addEventListener("hashchange", () => { if (/^#[\w-]{43}$/.test(location.hash)) location.reload(); });
if (hasToken()) follow();
else ask("");
