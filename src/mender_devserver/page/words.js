// Names and formats for display.

export const MOODS = {
  accepted: "good", success: "good", "already-installed": "good", finished: "idle",
  failure: "bad", rejected: "bad", noartifact: "bad", aborted: "bad",
  pending: "wait", preauthorized: "wait", decommissioned: "wait",
  downloading: "busy", installing: "busy", rebooting: "busy", inprogress: "busy",
  pause_before_installing: "wait", pause_before_rebooting: "wait", pause_before_committing: "wait",
};
const WORDS = { inprogress: "in progress", noartifact: "no fitting Artifact", "already-installed": "already installed" };

export const mood = (status) => MOODS[status] || "busy";
export const word = (status) => WORDS[status] || status.replaceAll("_", " ");
export const brief = (id) => id.slice(0, 8);
export const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour12: false });
export const several = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));
export const pairs = (values) => Object.entries(values).map(([name, value]) => `${name}=${written(value)}`).join(" ");
export const shown = (value) => (Array.isArray(value) ? value.map(written).join(", ") : written(value));

export const faultText = (fault) => pairs(fault.times === null ? { ...fault, times: "always" } : fault);

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

export const nameOf = (identity, deviceId) => (identity ? pairs(identity) : `device ${brief(deviceId)}`);

// Describe an event of the server in one sentence.
export function sentence(state, { name, data }) {
  const who = data.identity || data.device_id ? nameOf(data.identity, data.device_id) : "";
  const what = () => state.deployments[data.deployment_id]?.artifact_name || "a deployment";
  const sentences = {
    "device-pending": () => `${who} asks for access${data.new_key ? " with a new key" : ""}`,
    "device-accepted": () => `${who} is accepted`,
    "device-rejected": () => `${who} is rejected`,
    "device-preauthorized": () => `${who} is preauthorized`,
    "device-decommissioned": () => `${who} is forgotten`,
    "device-connected": () => `${who} is connected for users`,
    "device-disconnected": () => `${who} is no longer connected for users`,
    token: () => `${who} has a token`,
    inventory: () => `${who} sent its inventory, ${several(data.attributes, "attribute")}`,
    artifact: () => `${data.artifact_name} is uploaded`,
    "artifact-deleted": () => `${data.artifact_name} is deleted`,
    deployment: () => `${data.artifact_name} goes to ${several(data.devices, "device")}`,
    offered: () => `${what()} is offered to ${who}`,
    download: () => `${who} downloads${data.first_byte ? `, from byte ${data.first_byte} on` : ""}`,
    "download-end": () => `a download of ${who} ended: ${size(data.bytes_sent)} of ${size(data.bytes_promised)} sent`,
    status: () => `${what()} on ${who}: ${word(data.status)}`,
    log: () => `${who} sent a log, ${several(data.messages, "message")}`,
    aborted: () => `${what()} is aborted`,
    fault: () => `a fault met a request (${data.kind}): ${faultText(data.fault)}`,
  };
  return (sentences[name] || (() => `${name} ${pairs(data)}`))();
}

// The events that a screen reader announces; the others are only in the timeline.
export const WORTH_SAYING = new Set(["device-pending", "device-accepted", "device-rejected", "artifact", "deployment", "status", "log", "aborted"]);
