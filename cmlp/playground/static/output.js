// The large view: a map, the points, the numbers beside it; and drawing points.

import { element } from "./controls.js";
import { colorOf, painter } from "./colors.js";

const REACH = 6;
const MARGIN = 22; // px for the axes, right and below
const APART = 0.45; // of points that are drawn in one stroke

export class Output {
  /** Draws into `root`, which has the canvases .map and .points; `drawn(points)` after a stroke. */
  constructor(root, drawn) {
    this.map = root.querySelector(".map");
    this.over = root.querySelector(".points");
    this.reading = root.querySelector(".reading");
    this.drawn = drawn;
    this.points = { train: [], test: [] };
    this.brush = null;
    this.axes = null;
    this.values = null;
    this.side = 100;
    this.painter = painter(this.map, this.side);
    this.painter.clear();
    new ResizeObserver(() => this.drawPoints()).observe(this.over);
    this.over.addEventListener("pointermove", (event) => this.moved(event));
    this.over.addEventListener("pointerleave", () => { this.reading.textContent = ""; });
    this.over.addEventListener("pointerdown", (event) => this.pressed(event));
    this.over.addEventListener("pointerup", () => this.released());
    this.over.addEventListener("pointercancel", () => this.released());
  }

  setSide(side) {
    if (side === this.side) return;
    this.side = side;
    this.painter = painter(this.map, side);
  }

  /** The map of a frame. */
  draw(values, discrete) {
    this.values = values;
    this.painter.numbers(values, discrete);
  }

  clear() {
    this.values = null;
    this.painter.clear();
  }

  /** The points of an experiment. */
  show(points, showTest) {
    this.points = points;
    this.axes = points.axes ?? null;
    this.showTest = showTest;
    this.drawPoints();
  }

  // ---- points and axes ----

  get width() {
    return this.over.clientWidth - MARGIN;
  }

  place(x, y) {
    const scale = this.width / (2 * REACH);
    return [(x + REACH) * scale, (REACH - y) * scale];
  }

  drawPoints() {
    const ratio = window.devicePixelRatio || 1;
    const side = this.over.clientWidth;
    if (side === 0) return;
    this.over.width = this.over.height = Math.round(side * ratio);
    const context = this.over.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, side, side);
    this.drawAxes(context);
    const radius = Math.max(2.2, this.width / 110);
    const dots = (rows, edge) => {
      for (const [x, y, target] of rows) {
        context.beginPath();
        context.arc(...this.place(x, y), radius, 0, 2 * Math.PI);
        context.fillStyle = colorOf(target);
        context.strokeStyle = edge;
        context.fill();
        context.stroke();
      }
    };
    context.lineWidth = 1;
    dots(this.points.train, "#fff");
    if (this.showTest) dots(this.points.test, "#20262c");
    if (this.stroke) dots(this.stroke, "#fff");
  }

  drawAxes(context) {
    const width = this.width;
    context.fillStyle = context.strokeStyle = "#6b747c";
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "center";
    const number = (value) => String(Number(value.toPrecision(3))).replace("-", "−");
    for (let i = 0; i <= 6; i++) {
      const v = -REACH + 2 * i;
      const [at] = this.place(v, 0);
      const edge = i === 0 ? 8 : i === 6 ? -6 : 0;
      context.fillText(this.label(0, i / 6, number), at + edge, width + 13);
      const [, up] = this.place(0, v);
      context.save();
      context.textAlign = "left";
      context.fillText(this.label(1, i / 6, number), width + 4,
        up + (i === 0 ? 0 : i === 6 ? 8 : 3.5));
      context.restore();
    }
  }

  label(axis, share, number) {
    const { low, high } = this.axes?.[axis] ?? { low: -REACH, high: REACH };
    return number(low + (high - low) * share);
  }

  // ---- the pointer ----

  at(event) {
    const box = this.over.getBoundingClientRect();
    const scale = (2 * REACH) / this.width;
    return [
      (event.clientX - box.left) * scale - REACH, REACH - (event.clientY - box.top) * scale,
    ];
  }

  moved(event) {
    const [x, y] = this.at(event);
    if (Math.abs(x) > REACH || Math.abs(y) > REACH) {
      this.reading.textContent = "";
      return;
    }
    if (this.stroke) this.extend(x, y);
    if (!this.values) return;
    const cell = (v) => Math.min(this.side - 1, Math.floor(((v + REACH) / (2 * REACH)) * this.side));
    const value = this.values[cell(-y) * this.side + cell(x)];
    const [a, b] = [x, y].map((v, axis) => {
      const { name, low, high } = this.axes?.[axis]
        ?? { name: ["X₁", "X₂"][axis], low: -REACH, high: REACH };
      return `${name} ${(low + ((high - low) * (v + REACH)) / (2 * REACH)).toPrecision(3)}`;
    });
    this.reading.textContent = `${a}, ${b}: ${value.toFixed(3)}`.replaceAll("-", "−");
  }

  pressed(event) {
    if (this.brush === null) return;
    const [x, y] = this.at(event);
    if (Math.abs(x) > REACH || Math.abs(y) > REACH) return;
    event.preventDefault();
    this.over.setPointerCapture(event.pointerId);
    this.stroke = [];
    this.extend(x, y);
  }

  extend(x, y) {
    const last = this.stroke.at(-1);
    if (last && Math.hypot(x - last[0], y - last[1]) < APART) return;
    this.stroke.push([x, y, this.brush]);
    this.drawPoints();
  }

  released() {
    if (!this.stroke) return;
    const stroke = this.stroke;
    this.stroke = null;
    this.drawn(stroke);
  }
}

/** The numbers of the training and the test part. */
export function drawScores(root, frame, classifies) {
  const number = (loss) => (loss === null ? "∞" : loss.toFixed(3));
  root.querySelector(".train-loss").textContent = number(frame.train.loss);
  root.querySelector(".test-loss").textContent = number(frame.test.loss);
  root.classList.toggle("classifies", classifies);
  if (!classifies) return;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  root.querySelector(".train-accuracy").textContent = percent(frame.train.accuracy);
  root.querySelector(".test-accuracy").textContent = percent(frame.test.accuracy);
  const cells = root.querySelectorAll(".confusion td");
  const counts = frame.test.counts.flat();
  cells.forEach((cell, i) => { cell.textContent = counts[i]; });
}

/** A small picture of points, for the choice of the set. */
export function thumbnail(points) {
  const canvas = element("canvas", { width: 88, height: 88 });
  const context = canvas.getContext("2d");
  for (const [x, y, target] of points) {
    context.beginPath();
    context.arc(44 + (x / REACH) * 42, 44 - (y / REACH) * 42, 2.6, 0, 2 * Math.PI);
    context.fillStyle = colorOf(target);
    context.fill();
  }
  return canvas;
}
