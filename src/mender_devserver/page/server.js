// The connection to the server. The token comes in the fragment of the page's URL, which a browser sends nowhere; it is
// kept for this tab and sent in a header, which no other web site can set.

const PREFIX = "/api/management/dev/";
const CONNECT = "/api/management/v1/deviceconnect/devices/";
const KEPT = "mender-devserver-token";
const AGAIN_MILLISECONDS = 1000;
const SILENT_MILLISECONDS = 25000;

let token = "";

export function takeToken(text) {
  const given = text.slice(text.lastIndexOf("#") + 1).trim();
  if (!given) return;
  token = given;
  sessionStorage.setItem(KEPT, token);
}

export function hasToken() {
  const fragment = location.hash.slice(1);
  if (/^[\w-]{43}$/.test(fragment)) {
    takeToken(fragment);
    history.replaceState(null, "", location.pathname);
  }
  token ||= sessionStorage.getItem(KEPT) || "";
  return token !== "";
}

const opened = (more) => ({ Authorization: `Bearer ${token}`, ...more });

async function refusal(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server answered ${response.status}`;
  }
}

export async function call(method, path, body) {
  let response;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(PREFIX + path, { method, headers: opened({ "Content-Type": "application/json" }), body: content });
  } catch {
    throw new Error("cannot reach the dev server; is it still running?");
  }
  if (!response.ok) throw new Error(await refusal(response));
  return response.json();
}

// XMLHttpRequest, because fetch can't report the progress of an upload.
function put(path, headers, content, progressed, signal) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    for (const [name, value] of Object.entries(opened(headers))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progressed(event.total ? event.loaded / event.total : 1);
    request.onerror = () => failed(new Error("cannot reach the dev server; is it still running?"));
    request.onabort = () => failed(new Error("the upload was stopped"));
    request.onload = () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch { /* no JSON: only the status is known */ }
      if (request.status < 400) done(answer);
      else failed(new Error(answer.error || `the server answered ${request.status}`));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(content);
  });
}

export function upload(file, progressed) {
  return put(`${PREFIX}artifacts`, { "Content-Type": "application/octet-stream" }, file, progressed);
}

// Device connect, under the paths of the real server. A websocket can't have a header, so the token is a subprotocol.

export function connect(id) {
  const address = `${location.origin.replace(/^http/, "ws")}${CONNECT}${id}/connect`;
  const socket = new WebSocket(address, ["mender-devserver", `bearer.${token}`]);
  socket.binaryType = "arraybuffer";
  return socket;
}

export function sendFile(id, path, file, progressed, signal) {
  const form = new FormData();
  form.append("path", path);
  form.append("file", file);
  return put(`${CONNECT}${id}/upload`, {}, form, progressed, signal);
}

export async function fetchFile(id, path, progressed, signal) {
  let response;
  try {
    response = await fetch(`${CONNECT}${id}/download?path=${encodeURIComponent(path)}`, { headers: opened({}), signal });
  } catch {
    throw new Error("cannot reach the dev server; is it still running?");
  }
  if (!response.ok) throw new Error(await refusal(response));
  const total = Number(response.headers.get("X-MEN-File-Size")) || 0;
  const pieces = [];
  let received = 0;
  try {
    for (const reader = response.body.getReader(); ;) {
      const { value, done } = await reader.read();
      if (done) return new Blob(pieces, { type: "application/octet-stream" });
      pieces.push(value);
      received += value.length;
      if (total) progressed(Math.min(1, received / total));
    }
  } catch {
    throw new Error("the download was cut; see the log of the device");
  }
}

// The current view: which devices, and which part of each list. The feed sends only these.
const view = { search: "", status: "", devices: "1" };
let gone = new AbortController();
let isChanged = false;

export function look(changes) {
  Object.assign(view, changes);
  isChanged = true;
  gone.abort();
}

export const looksFor = (name) => view[name];

// Read the feed for ever, and reconnect whenever it breaks. EventSource can't be used because it can't send a header.
export async function listen({ onMessage, onLive, onBroken, onRefused }) {
  for (;;) {
    gone = new AbortController();
    isChanged = false;
    let silence = 0;
    try {
      const response = await fetch(`${PREFIX}live?${new URLSearchParams(view)}`, { headers: opened({}), signal: gone.signal, cache: "no-store" });
      if (response.status === 401) return onRefused();
      if (!response.ok) throw new Error(await refusal(response));
      onLive();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        clearTimeout(silence);
        silence = setTimeout(() => gone.abort(), SILENT_MILLISECONDS);
        const { value, done } = await reader.read();
        if (done) break;
        const messages = (rest + value).split("\n\n");
        rest = messages.pop();
        for (const message of messages) {
          if (message.startsWith("data: ")) onMessage(JSON.parse(message.slice(6)));
        }
      }
    } catch { /* broken: reported below, then retried */ }
    clearTimeout(silence);
    if (isChanged) continue;
    onBroken();
    await new Promise((again) => setTimeout(again, AGAIN_MILLISECONDS));
  }
}
