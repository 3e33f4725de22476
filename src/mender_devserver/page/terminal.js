// A terminal on a device: xterm.js, loaded when the first terminal is opened, over a websocket to the server.

import { find, say, slot } from "./dom.js";
import { asText, CONTROL, decode, encode, SHELL } from "./msgpack.js";
import { connect } from "./server.js";

const PIECE_BYTES = 4096;
const UNREAD_PIECES = 8;
const ASK_MILLISECONDS = 20000;
const SILENT_MILLISECONDS = 60000;
const ERROR = 2;
const LEAVE = "\x1d";

const root = find("terminal");
const status = slot(root, "status");
let loading = null;

export async function openTerminal(id, name) {
  say(slot(root, "title"), `Terminal on ${name}`);
  say(status, "connecting");
  slot(root, "close").onclick = () => root.close();
  root.showModal();
  let close = () => {};
  root.onclose = () => close();
  try {
    const { Terminal, FitAddon } = await load();
    if (root.open) close = begin(id, Terminal, FitAddon);
  } catch {
    say(status, "cannot load the terminal; is the server still running?");
  }
}

function load() {
  loading ||= Promise.all([import("./vendor/xterm.mjs"), import("./vendor/addon-fit.mjs"), style("vendor/xterm.css")]).then(
    ([{ Terminal }, { FitAddon }]) => ({ Terminal, FitAddon }),
    (error) => {
      loading = null;
      throw error;
    },
  );
  return loading;
}

function style(address) {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  const loaded = new Promise((done, failed) => {
    link.onload = done;
    link.onerror = failed;
  });
  document.head.append(link);
  return loaded;
}

// Returns a function that closes the terminal.
function begin(id, Terminal, FitAddon) {
  const terminal = new Terminal({ fontSize: 14, scrollback: 5000, screenReaderMode: true });
  const fitting = new FitAddon();
  terminal.loadAddon(fitting);
  const sheets = openWithin(terminal, slot(root, "screen"));
  fitting.fit();
  const session = new Session(id, terminal);
  const resized = new ResizeObserver(() => fitting.fit());
  resized.observe(slot(root, "screen"));
  terminal.focus();
  return () => {
    resized.disconnect();
    session.close();
    terminal.dispose();
    slot(root, "screen").replaceChildren();
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => !sheets.includes(one));
  };
}

class Session {
  constructor(id, terminal) {
    this.terminal = terminal;
    this.waiting = [];
    this.unread = 0;
    this.heard = Date.now();
    this.socket = connect(id);
    this.socket.onopen = () => this.send(SHELL, "new", { terminal_width: terminal.cols, terminal_height: terminal.rows });
    this.socket.onmessage = ({ data }) => this.take(decode(data));
    this.socket.onclose = () => this.end("not connected: the device or the server is gone");
    terminal.onData((text) => this.type(new TextEncoder().encode(text), text));
    terminal.onBinary((text) => this.type(Uint8Array.from(text, (one) => one.charCodeAt(0)), text));
    terminal.onResize(({ cols, rows }) => this.send(SHELL, "resize", { terminal_width: cols, terminal_height: rows }));
    this.asking = setInterval(() => this.ask(), ASK_MILLISECONDS);
  }

  send(proto, typ, props, body) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(encode({ proto, typ, props, body }));
  }

  take({ proto, typ, props, body }) {
    this.heard = Date.now();
    if (typ === "ping") this.send(proto, "pong");
    else if (proto === CONTROL && typ === "pong") this.continue();
    else if (proto !== SHELL) return;
    else if (typ === "stop" || props.status === ERROR) this.end(asText(body) || "the shell has ended");
    else if (typ === "new") say(status, "connected; Ctrl-] leaves");
    else if (typ === "shell") this.terminal.write(body);
  }

  // Input sent faster than the device reads would be lost, so after some pieces the device is asked for confirmation.
  type(bytes, text) {
    if (text === LEAVE) return root.close();
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) this.waiting.push(bytes.slice(start, start + PIECE_BYTES));
    this.flush();
  }

  flush() {
    while (this.waiting.length && this.unread < UNREAD_PIECES) {
      this.send(SHELL, "shell", {}, this.waiting.shift());
      this.unread += 1;
      if (this.unread === UNREAD_PIECES) this.send(CONTROL, "ping");
    }
  }

  continue() {
    this.unread = 0;
    this.flush();
  }

  ask() {
    const silent = Date.now() - this.heard;
    if (silent > SILENT_MILLISECONDS) say(status, `the device has not answered for ${Math.round(silent / 1000)} s`);
    else if (status.textContent.startsWith("the device has not")) say(status, "connected; Ctrl-] leaves");
    this.send(CONTROL, "ping");
  }

  end(reason) {
    if (this.asking) say(status, `ended: ${reason}`);
    this.close();
  }

  close() {
    clearInterval(this.asking);
    this.asking = 0;
    this.socket.onclose = null;
    this.socket.close();
  }
}

// The page's content security policy blocks the style elements and attributes that xterm.js creates, but allows styles
// set by a script. While the terminal opens, the style elements that it creates become style sheets …
function openWithin(terminal, place) {
  const sheets = [];
  const make = (name) => {
    if (name !== "style") return Document.prototype.createElement.call(document, name);
    const sheet = new CSSStyleSheet();
    sheets.push(sheet);
    return Object.defineProperty(make("template"), "textContent", { set: (text) => sheet.replaceSync(text) });
  };
  document.createElement = make;
  try {
    terminal.open(place);
  } finally {
    delete document.createElement;
  }
  document.adoptedStyleSheets.push(...sheets);
  // … and the only method that writes style attributes, for 24-bit colours, is replaced by one that sets the styles.
  const rows = terminal._core._renderService._renderer.value._rowFactory;
  rows._addStyle = (node, text) => { node.style.cssText += `${text};`; };
  return sheets;
}
