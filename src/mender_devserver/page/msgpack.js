// The messages of device connect, in the subset of MessagePack that they need.

const writer = new TextEncoder();
const reader = new TextDecoder();

export const SHELL = 1;
export const CONTROL = 0xffff;

// Encode a message. Integers are written as int64, the only form that the server accepts.
export function encode({ proto, typ, props, body }) {
  const out = [];
  const long = (code, length) => out.push(code, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255);
  const text = (value) => {
    const bytes = writer.encode(value);
    long(0xdb, bytes.length);
    out.push(...bytes);
  };
  const number = (value) => {
    long(0xd3, 0);
    out.push(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  };
  out.push(body ? 0x82 : 0x81);
  text("hdr");
  const entries = Object.entries(props || {});
  out.push(entries.length ? 0x83 : 0x82);
  text("proto");
  number(proto);
  text("typ");
  text(typ);
  if (entries.length) {
    text("props");
    out.push(0x80 | entries.length);
    for (const [name, value] of entries) {
      text(name);
      number(value);
    }
  }
  if (body) {
    text("body");
    long(0xc6, body.length);
  }
  const head = new Uint8Array(out.length + (body ? body.length : 0));
  head.set(out);
  if (body) head.set(body, out.length);
  return head;
}

// Decode a message.
export function decode(buffer) {
  const { hdr, body } = new Unpacker(buffer).value();
  return { proto: hdr.proto, typ: hdr.typ, props: hdr.props || {}, body: body || new Uint8Array() };
}

export const asText = (bytes) => reader.decode(bytes);

class Unpacker {
  constructor(buffer) {
    this.view = new DataView(buffer);
    this.at = 0;
  }

  take(method, size) {
    const value = this.view[method](this.at);
    this.at += size;
    return Number(value);
  }

  bytes(size) {
    const value = new Uint8Array(this.view.buffer, this.at, size);
    if (value.length !== size) throw new RangeError("the message is cut");
    this.at += size;
    return value;
  }

  length(code, first) {
    return [() => this.take("getUint8", 1), () => this.take("getUint16", 2), () => this.take("getUint32", 4)][code - first]();
  }

  list(size) {
    const list = [];
    for (let count = 0; count < size; count += 1) list.push(this.value());
    return list;
  }

  map(size) {
    const map = {};
    for (let count = 0; count < size; count += 1) map[`${this.value()}`] = this.value();
    return map;
  }

  value() {
    const code = this.take("getUint8", 1);
    if (code < 0x80) return code;
    if (code < 0x90) return this.map(code & 15);
    if (code < 0xa0) return this.list(code & 15);
    if (code < 0xc0) return reader.decode(this.bytes(code & 31));
    if (code >= 0xe0) return code - 256;
    const numbers = {
      0xca: ["getFloat32", 4], 0xcb: ["getFloat64", 8],
      0xcc: ["getUint8", 1], 0xcd: ["getUint16", 2], 0xce: ["getUint32", 4], 0xcf: ["getBigUint64", 8],
      0xd0: ["getInt8", 1], 0xd1: ["getInt16", 2], 0xd2: ["getInt32", 4], 0xd3: ["getBigInt64", 8],
    };
    if (numbers[code]) return this.take(...numbers[code]);
    if (code === 0xc0) return null;
    if (code === 0xc2 || code === 0xc3) return code === 0xc3;
    if (code <= 0xc6) return this.bytes(this.length(code, 0xc4));
    if (code <= 0xc9) return this.bytes(this.length(code, 0xc7) + 1);
    if (code <= 0xd8) return this.bytes((1 << (code - 0xd4)) + 1);
    if (code <= 0xdb) return reader.decode(this.bytes(this.length(code, 0xd9)));
    return code <= 0xdd ? this.list(this.length(code, 0xdb)) : this.map(this.length(code, 0xdd));
  }
}
