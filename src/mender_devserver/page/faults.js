import { find, match, say, show, slot } from "./dom.js";
import { call } from "./server.js";
import { faultText, counted } from "./formatting.js";

const root = find("faults");
const settings = find("settings");
const FIRST = { kind: "any", times: "1" };
const PRESETS = {
  "choose one …": {},
  "the download is cut": { kind: "artifact", drop_after_bytes: 100000 },
  "the download is slow": { kind: "artifact", times: "", bytes_per_second: 200000 },
  "the download stalls": { kind: "artifact", stall_after_bytes: 100000, stall_seconds: 60 },
  "the link has expired": { kind: "artifact", expired: true },
  "a resume gets the whole Artifact": { kind: "artifact", ignore_range: true },
  "the poll gets 502": { kind: "next", status: 502, body: "Bad Gateway" },
  "the poll gets broken JSON": { kind: "next", body: "{" },
  "too many requests": { status: 429, headers: "Retry-After: 5" },
  "everything gets 500": { times: "", status: 500 },
  "the answer to a status is lost": { kind: "status", drop_after_bytes: 0 },
  "a TCP reset": { reset: true },
  "every answer is late": { times: "", delay_seconds: 2 },
};
const NUMBERS = ["after", "delay_seconds", "status", "drop_after_bytes", "stall_after_bytes", "stall_seconds", "bytes_per_second"];
const TEXTS = ["body", "etag", "content_range"];
const FLAGS = ["reset", "ignore_range", "expired"];

export function startFaults(act) {
  const form = slot(root, "form");
  const preset = slot(root, "preset");
  preset.replaceChildren(...Object.keys(PRESETS).map((one) => new Option(one)));
  preset.onchange = () => {
    const chosen = preset.value;
    empty(form);
    preset.value = chosen;
    for (const [name, value] of Object.entries({ ...FIRST, ...PRESETS[chosen] })) {
      const field = form.elements[name];
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
  };
  slot(root, "clear").onclick = () => act(() => call("DELETE", "faults"));
  form.onsubmit = (event) => {
    event.preventDefault();
    act(async () => {
      await call("POST", "faults", read(form.elements));
      empty(form);
    });
  };
}

// The field named "reset" hides the form's method of that name.
const empty = (form) => HTMLFormElement.prototype.reset.call(form);

function read(fields) {
  const fault = { kind: fields.kind.value, times: fields.times.value === "" ? null : Number(fields.times.value) };
  for (const name of NUMBERS) if (fields[name].value !== "") fault[name] = Number(fields[name].value);
  for (const name of TEXTS) if (fields[name].value !== "") fault[name] = fields[name].value;
  for (const name of FLAGS) if (fields[name].checked) fault[name] = true;
  const lines = fields.headers.value.split("\n").filter((line) => line.includes(":"));
  if (lines.length) fault.headers = Object.fromEntries(lines.map((line) => [line.split(":", 1)[0].trim(), line.slice(line.indexOf(":") + 1).trim()]));
  return fault;
}

export function showFaults(state) {
  const faults = state.faults.list || [];
  say(slot(root, "count"), faults.length ? `${counted(faults.length, "fault")} to come` : "none to come");
  show(slot(root, "clear"), faults.length > 0);
  const lines = faults.map((one, place) => [String(place), one]);
  match(slot(root, "list"), lines, "fault-line", () => {}, (line, one) => say(slot(line, "text"), faultText(one)));
}

export function startSettings(act) {
  const form = slot(settings, "form");
  form.onsubmit = (event) => {
    event.preventDefault();
    const wanted = {};
    for (const field of fieldsOf(form)) {
      wanted[field.name] = field.type === "checkbox" ? field.checked : field.type === "number" ? Number(field.value) : field.value || null;
    }
    act(async () => {
      await call("PATCH", "settings", wanted);
      say(find("said"), "settings saved");
    });
  };
}

const fieldsOf = (form) => [...form.elements].filter((one) => one.name);

// Show the current settings, except in a field that the user is editing.
export function showSettings(changed) {
  for (const field of fieldsOf(slot(settings, "form"))) {
    if (!(field.name in changed) || field === document.activeElement) continue;
    if (field.type === "checkbox") field.checked = changed[field.name];
    else field.value = changed[field.name] ?? "";
  }
}
