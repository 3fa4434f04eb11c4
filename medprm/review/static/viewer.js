// The viewer: images of a case on a canvas of the viewport's size, with window and level, zoom, pan, invert and scroll.

import { element } from "./api.js";
import { loadFrame } from "./frames.js";
import { resampleColour, resampleGrey } from "./resample.js";
import { fillTable } from "./window.js";

// Centre and width in HU: common reading windows of CT.
const CT_PRESETS = { lung: [-600, 1500], mediastinum: [40, 400], bone: [500, 2000], abdomen: [60, 400] };
// The same names on a film, which has no units: shares of the grey levels that it uses (centre, width).
const FILM_PRESETS = { lung: [0.35, 0.6], mediastinum: [0.65, 0.5], bone: [0.8, 0.4], abdomen: [0.55, 0.5] };

export class Viewer {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.table = new Uint32Array(65536);
    this.preset = root.querySelector(".preset");
    this.entries = [];
    this.position = 0;
    this.frame = null;
    this.drag = null;
    this.isPending = false;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(root.querySelector(".stage"));
    this.resize();
  }

  // numbers: the images of the case. Files of several frames are spread out once the first of them is here.
  async show(numbers, label) {
    this.label = label;
    this.entries = numbers.map((image) => ({ image, frame: null }));
    this.position = 0;
    this.keepsView = false;
    this.frame = null;
    this.draw();
    if (numbers.length) await this.open(0);
  }

  async open(position) {
    if (position < 0 || position >= this.entries.length) return;
    this.position = position;
    const entry = this.entries[position];
    const asked = performance.now();
    try {
      const frame = await loadFrame(entry.image, entry.frame);
      if (this.entries[this.position] !== entry) return;
      if (frame.num_frames > 1 && entry.frame === null) this.spread(position, entry.image, frame.num_frames);
      this.accept(frame);
      this.failure("");
      this.draw();
      measure("image", asked);
    } catch (error) {
      if (this.entries[this.position] === entry) this.failure(error.message);
    }
    for (const next of [1, -1, 2]) {
      const near = this.entries[this.position + next];
      if (near) loadFrame(near.image, near.frame).catch(() => {});
    }
  }

  spread(position, image, numFrames) {
    const frames = Array.from({ length: numFrames }, (_, frame) => ({ image, frame }));
    this.entries.splice(position, 1, ...frames);
  }

  accept(frame) {
    const isSameKind = this.frame && this.frame.modality === frame.modality && this.frame.width === frame.width;
    this.frame = frame;
    if (!(this.keepsView && isSameKind)) {
      this.window = { ...frame.window };
      this.isOwn = true;
      this.isInverted = false;
      this.fitView();
    }
    this.keepsView = true;
    this.listPresets();
    this.isStale = true;
    this.tableStale = true;
  }

  // ------------------------------------------------------------------------------------------------ window and place
  range() {
    const { frame } = this;
    if (!this.frame.range) {
      let low = Infinity;
      let high = -Infinity;
      const values = frame.data;
      for (let i = 0; i < values.length; i += 7) {
        if (values[i] === 65535) continue;
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
      }
      this.frame.range = [low * frame.slope + frame.intercept, high * frame.slope + frame.intercept].sort((a, b) => a - b);
    }
    return this.frame.range;
  }

  listPresets() {
    const isCt = this.frame.modality === "CT";
    const names = ["as in the file", ...(this.frame.isGrey ? [...Object.keys(CT_PRESETS), "full range"] : ["full range"])];
    this.preset.replaceChildren(...names.map((name) => element("option", {}, name)));
    if (!this.isOwn) this.preset.prepend(element("option", { selected: true }, "by hand"));
    this.preset.title = isCt ? "Windows in HU" : "No units in this image: shares of the grey levels it uses";
  }

  choosePreset(name) {
    if (!this.frame || name === "by hand") return;
    this.isOwn = name === "as in the file";
    const [low, high] = this.range();
    const span = high - low || 1;
    if (this.isOwn) this.window = { ...this.frame.window };
    else if (name === "full range") this.window = { center: low + span / 2, width: span, function: "LINEAR_EXACT" };
    else if (this.frame.modality === "CT") this.setWindow(...CT_PRESETS[name]);
    else {
      const [center, width] = FILM_PRESETS[name];
      const shown = this.frame.is_inverted ? 1 - center : center;
      this.setWindow(low + shown * span, width * span);
    }
    this.listPresets();
    this.preset.value = name;
    this.tableStale = true;
    this.request(performance.now());
  }

  nextPreset() {
    const names = [...this.preset.options].map((one) => one.value).filter((one) => one !== "by hand");
    const place = names.indexOf(this.preset.value);
    this.choosePreset(names[(place + 1) % names.length]);
  }

  setWindow(center, width) {
    this.window = { center, width: Math.max(1, width), function: "LINEAR" };
    if (this.range()[1] - this.range()[0] <= 8) this.window = { center, width: Math.max(1e-6, width), function: "LINEAR_EXACT" };
    this.isOwn = false;
    this.tableStale = true;
  }

  fitView() {
    const { width, height } = this.canvas;
    this.step = Math.max(this.frame.width / width, this.frame.height / height) || 1;
    this.x = (this.frame.width - width * this.step) / 2;
    this.y = (this.frame.height - height * this.step) / 2;
    this.isFitted = true;
    this.isStale = true;
  }

  zoom(factor, px = this.canvas.width / 2, py = this.canvas.height / 2) {
    if (!this.frame) return;
    const step = Math.min(16, Math.max(1 / 32, this.step / factor));
    this.x += px * (this.step - step);
    this.y += py * (this.step - step);
    this.step = step;
    this.isFitted = false;
    this.isStale = true;
    this.request(performance.now());
  }

  resize() {
    const stage = this.root.querySelector(".stage");
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(stage.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(stage.clientHeight * ratio));
    const size = this.canvas.width * this.canvas.height;
    this.grey = new Uint16Array(size);
    this.colour = new Uint8Array(3 * size);
    this.picture = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.words = new Uint32Array(this.picture.data.buffer);
    if (this.frame && this.isFitted) this.fitView();
    this.isStale = true;
    this.draw();
  }

  // ------------------------------------------------------------------------------------------------ drawing
  request(since) {
    this.since ??= since;
    if (this.isPending) return;
    this.isPending = true;
    requestAnimationFrame(() => {
      this.isPending = false;
      const asked = this.since;
      this.since = null;
      this.draw();
      measure("redraw", asked);
    });
  }

  draw() {
    const { canvas, frame } = this;
    if (!frame) {
      this.words.fill(0xff000000);
      this.context.putImageData(this.picture, 0, 0);
      this.say();
      return;
    }
    const place = { x: this.x, y: this.y, step: this.step };
    if (this.isStale) {
      if (frame.isGrey) resampleGrey(this.grey, canvas.width, canvas.height, frame, place, this.drag?.kind === "pan");
      else resampleColour(this.colour, canvas.width, canvas.height, frame, place);
      this.isStale = false;
    }
    if (this.tableStale) {
      fillTable(this.table, frame, this.window, this.isOwn, this.isInverted);
      this.tableStale = false;
    }
    if (frame.isGrey) paintGrey(this.words, this.grey, this.table);
    else paintColour(this.words, this.colour, this.table);
    this.context.putImageData(this.picture, 0, 0);
    this.say();
  }

  say() {
    const find = (name) => this.root.querySelector(name);
    const { frame } = this;
    const total = this.entries.length;
    find(".position").textContent = total > 1 ? `${this.position + 1} of ${total}` : "";
    find(".pager").hidden = total < 2;
    for (const edge of ["left", "right", "top", "bottom"]) find(`.edge.${edge}`).textContent = frame?.edges?.[edge] ?? "";
    if (!frame) {
      find(".values").textContent = "";
      find(".note").textContent = "";
      return;
    }
    const unit = frame.modality === "CT" ? " HU" : "";
    const number = (value) => (Math.abs(value) < 10 ? value.toPrecision(2) : Math.round(value));
    const shown = this.isOwn && frame.lut ? "the file's table" : `C ${number(this.window.center)} W ${number(this.window.width)}${unit}`;
    find(".values").textContent = `${shown} · ${Math.round(100 / this.step)} %${this.isInverted ? " · inverted" : ""}`;
    const notes = [frame.view, frame.laterality ? `side: ${frame.laterality}` : null];
    if (frame.kind === "grey" && !frame.edges) notes.push("the file does not say which side is left");
    if (!frame.is_exact) notes.push("rounded to 65,535 levels");
    find(".note").textContent = notes.filter(Boolean).join(" · ");
    this.canvas.setAttribute("aria-label", `${this.label ?? "Image"}, ${this.position + 1} of ${total}`);
    find("[data-act=invert]").setAttribute("aria-pressed", String(this.isInverted));
  }

  failure(text) {
    this.root.querySelector(".failure").textContent = text;
    if (text) {
      this.frame = null;
      this.draw();
    }
  }

  // ------------------------------------------------------------------------------------------------ input
  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.start(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.stop());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.preset.addEventListener("change", () => this.choosePreset(this.preset.value));
    for (const button of this.root.querySelectorAll("[data-act]")) {
      button.addEventListener("click", () => this.act(button.dataset.act));
    }
  }

  start(event) {
    if (!this.frame) return;
    const kind = event.shiftKey || event.button !== 0 ? "pan" : "window";
    this.drag = { kind, x: event.clientX, y: event.clientY, from: { ...this.window, px: this.x, py: this.y } };
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.drag) return;
    const [dx, dy] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
    const { from } = this.drag;
    if (this.drag.kind === "window") {
      const [low, high] = this.range();
      const unit = (high - low) / 600;
      this.setWindow(from.center + dy * unit, Math.max(unit, from.width + dx * unit));
      if (this.preset.value !== "by hand") this.listPresets();
    } else {
      const ratio = this.canvas.width / this.canvas.clientWidth;
      this.x = from.px - dx * ratio * this.step;
      this.y = from.py - dy * ratio * this.step;
      this.isFitted = false;
      this.isStale = true;
    }
    this.request(event.timeStamp);
  }

  stop() {
    if (this.drag?.kind === "pan") {
      this.isStale = true;
      this.drag = null;
      this.request(performance.now());
    }
    this.drag = null;
  }

  wheel(event) {
    event.preventDefault();
    if (this.entries.length > 1 && !event.ctrlKey) {
      this.open(this.position + Math.sign(event.deltaY));
      return;
    }
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    this.zoom(1.2 ** -Math.sign(event.deltaY), (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
  }

  act(name) {
    if (name === "previous") this.open(this.position - 1);
    if (name === "next") this.open(this.position + 1);
    if (!this.frame) return;
    if (name === "invert") {
      this.isInverted = !this.isInverted;
      this.tableStale = true;
      this.request(performance.now());
    }
    if (name === "in") this.zoom(1.25);
    if (name === "out") this.zoom(0.8);
    if (name === "fit") {
      this.fitView();
      this.request(performance.now());
    }
  }

  // Whether the key was one of the viewer's.
  key(key) {
    const acts = { i: "invert", "+": "in", "=": "in", "-": "out", 0: "fit", "[": "previous", "]": "next" };
    if (key === "p") this.nextPreset();
    else if (acts[key]) this.act(acts[key]);
    else return false;
    return true;
  }
}

function paintGrey(words, codes, table) {
  for (let i = 0; i < words.length; i += 1) words[i] = table[codes[i]];
}

function paintColour(words, colour, table) {
  for (let i = 0, k = 0; i < words.length; i += 1, k += 3) {
    words[i] = 0xff000000 | ((table[colour[k + 2]] & 255) << 16) | ((table[colour[k + 1]] & 255) << 8) | (table[colour[k]] & 255);
  }
}

// User Timing: what the browser's own tools show, and what the tests read.
function measure(name, start) {
  if (performance.getEntriesByName(name).length > 500) performance.clearMeasures(name);
  performance.measure(name, { start, end: performance.now() });
}
