// Names and formats for display.

export const TONES = {
  accepted: "good", success: "good", "already-installed": "good", finished: "idle",
  failure: "bad", rejected: "bad", noartifact: "bad", aborted: "bad",
  pending: "wait", preauthorized: "wait", decommissioned: "wait",
  downloading: "busy", installing: "busy", rebooting: "busy", inprogress: "busy",
  pause_before_installing: "wait", pause_before_rebooting: "wait", pause_before_committing: "wait",
};
const LABELS = { inprogress: "in progress", noartifact: "no matching Artifact", "already-installed": "already installed" };

export const tone = (status) => TONES[status] || "busy";
export const label = (status) => LABELS[status] || status.replaceAll("_", " ");
export const shortId = (id) => id.slice(0, 8);
export const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour12: false });
export const counted = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

const valueText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
export const pairs = (values) => Object.entries(values).map(([name, value]) => `${name}=${valueText(value)}`).join(" ");
export const shown = (value) => (Array.isArray(value) ? value.map(valueText).join(", ") : valueText(value));

export const faultText = (fault) => pairs(fault.times === null ? { ...fault, times: "always" } : fault);

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

export const nameOf = (identity, deviceId) => (identity ? pairs(identity) : `device ${shortId(deviceId)}`);

// Describe an event of the server in one sentence.
export function sentence(state, { name, data }) {
  const who = data.identity || data.device_id ? nameOf(data.identity, data.device_id) : "";
  const what = () => state.deployments[data.deployment_id]?.artifact_name || "a deployment";
  const sentences = {
    "device-pending": () => `${who} requests authorisation${data.new_key ? " with a new key" : ""}`,
    "device-accepted": () => `${who} was accepted`,
    "device-rejected": () => `${who} was rejected`,
    "device-preauthorized": () => `${who} was preauthorized`,
    "device-decommissioned": () => `${who} was decommissioned`,
    "device-connected": () => `${who} is connected for remote access`,
    "device-disconnected": () => `${who} is no longer connected for remote access`,
    token: () => `${who} received a token`,
    inventory: () => `${who} sent its inventory, ${counted(data.attributes, "attribute")}`,
    artifact: () => `${data.artifact_name} was uploaded`,
    "artifact-deleted": () => `${data.artifact_name} was deleted`,
    deployment: () => `${data.artifact_name} was deployed to ${counted(data.devices, "device")}`,
    offered: () => `${what()} was offered to ${who}`,
    download: () => `${who} is downloading${data.first_byte ? `, from byte ${data.first_byte} on` : ""}`,
    "download-end": () => `a download of ${who} ended: ${size(data.bytes_sent)} of ${size(data.bytes_promised)} sent`,
    status: () => `${what()} on ${who}: ${label(data.status)}`,
    log: () => `${who} sent a log, ${counted(data.messages, "message")}`,
    aborted: () => `${what()} was aborted`,
    fault: () => `a fault was applied to a request (${data.kind}): ${faultText(data.fault)}`,
  };
  return (sentences[name] || (() => `${name} ${pairs(data)}`))();
}

// The events that a screen reader announces; the others are only in the timeline.
export const ANNOUNCED = new Set(["device-pending", "device-accepted", "device-rejected", "artifact", "deployment", "status", "log", "aborted"]);
