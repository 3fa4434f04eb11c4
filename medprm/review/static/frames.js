// Frames as the server sends them (medprm/review/pixels.py), and the last ones kept.

import { pixels } from "./api.js";

const MOST_KEPT_BYTES = 512 * 2 ** 20;
const kept = new Map();

export function parseFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const size = header.width * header.height;
  const isGrey = header.kind === "grey";
  const data = isGrey ? new Uint16Array(buffer, 4 + length, size) : new Uint8Array(buffer, 4 + length, 3 * size);
  const lut = header.has_lut ? new Uint8Array(buffer, 4 + length + data.byteLength, 65536) : null;
  return { ...header, isGrey, data, lut, numBytes: buffer.byteLength };
}

export function loadFrame(image, frame = null) {
  const key = `${image}:${frame ?? 0}`;
  let found = kept.get(key);
  if (found === undefined) {
    found = pixels(image, frame).then(parseFrame);
    found.catch(() => kept.delete(key));
    found.then(() => dropOldest(), () => {});
  } else {
    kept.delete(key);
  }
  kept.set(key, found);
  return found;
}

async function dropOldest() {
  let total = 0;
  for (const [key, promise] of [...kept.entries()].reverse()) {
    const frame = await promise.catch(() => null);
    total += frame?.numBytes ?? 0;
    if (total > MOST_KEPT_BYTES) kept.delete(key);
  }
}
