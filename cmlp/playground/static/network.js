// The picture of the net: inputs, units with their maps, weights as lines.

import { ACTIVATION_LABELS, element } from "./controls.js";
import { colorOf, levelOf, painter } from "./colors.js";
import { FEATURES, LIMITS } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";
const HEAD = 74; // px above the units
const GAP = 9; // px between units
const LEAST_COLUMN = 88;
const MOST_COLUMN = 170;

const INPUTS = {
  x: ["X₁", (a) => a],
  y: ["X₂", (a, b) => b],
  xSquared: ["X₁²", (a) => a * a],
  ySquared: ["X₂²", (a, b) => b * b],
  xTimesY: ["X₁X₂", (a, b) => a * b],
  sinX: ["sin X₁", (a) => Math.sin(a)],
  sinY: ["sin X₂", (a, b) => Math.sin(b)],
};

export function inputLabel(name) {
  return INPUTS[name][0];
}

/** A width in px for a weight, as in the original: 1 to 10 for sizes up to 5. */
const widthOf = (weight) => 1 + 9 * Math.min(1, Math.abs(weight) / 5);

const svg = (tag, attributes) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

/** Indices of a flat vector of weights and biases: (unit, input) and (unit) of each layer. */
export function placesOf(widths) {
  let first = 0;
  return widths.slice(1).map((units, i) => {
    const inputs = widths[i];
    const weights = first;
    const biases = first + units * inputs;
    first = biases + units;
    return {
      units, inputs,
      weight: (unit, input) => weights + unit * inputs + input,
      bias: (unit) => biases + unit,
    };
  });
}

export class Network {
  /**
   * Draws into `root`.  `act` has what the user may do: feature(name), shape(networkShape,
   * activations), look(unit or null), hover(label, place or null, event), edit(layer, unit, input).
   */
  constructor(root, act) {
    this.root = root;
    this.act = act;
    this.small = 25;
    this.discrete = false;
    this.columns = element("div", { className: "columns" });
    this.lines = svg("svg", { class: "links", "aria-hidden": "true" });
    root.append(this.lines, this.columns);
    new ResizeObserver(() => this.place()).observe(root.parentElement);
    this.lines.addEventListener("pointerover", (event) => this.hover(event));
    this.lines.addEventListener("pointerout", () => act.hover("", null));
    this.lines.addEventListener("click", (event) => {
      const found = this.linkOf(event.target);
      if (found) act.edit(found.layer, found.unit, found.input);
    });
  }

  // ---- building ----

  /** Build the picture for a state, as small maps of `small` points a side. */
  build(state, small) {
    this.small = small;
    this.shape = [...state.networkShape];
    this.activations = [...state.activations];
    this.features = FEATURES.filter((name) => state[name]);
    this.columns.replaceChildren(
      this.inputColumn(state),
      ...this.shape.map((units, layer) => this.hiddenColumn(layer, units)),
      this.outputColumn(),
    );
    this.widths = [this.features.length, ...this.shape, 1];
    this.places = placesOf(this.widths);
    this.buildLinks();
    this.place();
  }

  inputColumn(state) {
    const column = element("div", { className: "column inputs" });
    column.append(element("div", { className: "head" }, element("h2", {}, "Features")));
    this.inputs = new Map();
    for (const name of FEATURES) {
      const [label, formula] = INPUTS[name];
      const canvas = element("canvas");
      const button = element("button", {
        type: "button", className: "unit input", "aria-pressed": String(state[name]),
        "aria-label": `Input ${label}`,
      }, element("span", { className: "name" }, label), canvas);
      button.dataset.feature = name;
      button.dataset.explain = "Click to give this input to the net, or to take it away.";
      button.addEventListener("click", () => this.act.feature(name));
      this.paintInput(canvas, formula);
      column.append(button);
      this.inputs.set(name, button);
    }
    return column;
  }

  paintInput(canvas, formula) {
    const values = [];
    for (let row = 0; row < this.small; row++) {
      for (let i = 0; i < this.small; i++) {
        const at = (k) => ((k + 0.5) / this.small) * 12 - 6;
        values.push(formula(at(i), -at(row)));
      }
    }
    painter(canvas, this.small).numbers(values, false);
  }

  hiddenColumn(layer, units) {
    const column = element("div", { className: "column hidden-layer" });
    const change = (by) => {
      const shape = [...this.shape];
      shape[layer] = units + by;
      this.act.shape(shape, this.activations);
    };
    const minus = element("button", {
      type: "button", "aria-label": `Remove a unit from layer ${layer + 1}`,
    }, "−");
    const plus = element("button", {
      type: "button", "aria-label": `Add a unit to layer ${layer + 1}`,
    }, "+");
    minus.disabled = units <= 1;
    plus.disabled = units >= LIMITS.units;
    minus.addEventListener("click", () => change(-1));
    plus.addEventListener("click", () => change(1));
    const select = element("select", { "aria-label": `Activation of layer ${layer + 1}` });
    for (const [name, label] of Object.entries(ACTIVATION_LABELS)) {
      select.append(element("option", { value: name, selected: name === this.activations[layer] },
        label));
    }
    select.dataset.explain = "What the units of this layer make of the sum of their inputs.";
    select.addEventListener("change", () => {
      const names = [...this.activations];
      names[layer] = select.value;
      this.act.shape(this.shape, names);
    });
    const head = element("div", { className: "head" },
      element("div", { className: "count" }, minus, element("span", {}, String(units)), plus),
      select);
    column.append(head);
    for (let unit = 0; unit < units; unit++) column.append(this.unit(layer, unit));
    return column;
  }

  unit(layer, unit) {
    const canvas = element("canvas");
    const bias = element("span", { className: "bias" });
    const button = element("button", {
      type: "button", className: "unit", "aria-label": `Unit ${unit + 1} of layer ${layer + 1}`,
    }, canvas, bias);
    button.dataset.explain = "What this unit answers at every point. Point at it for the large "
      + "view, click to change its weights.";
    const look = () => this.act.look([layer, unit]);
    const away = () => this.act.look(null);
    button.addEventListener("pointerenter", look);
    button.addEventListener("pointerleave", away);
    button.addEventListener("focus", look);
    button.addEventListener("blur", away);
    button.addEventListener("click", () => this.act.edit(layer, unit, null));
    bias.addEventListener("pointerenter", (event) => {
      this.act.hover(`Bias of ${this.targetName(layer, unit)}`, this.places[layer].bias(unit), event);
    });
    bias.addEventListener("pointerleave", () => this.act.hover("", null));
    button.painter = painter(canvas, this.small);
    button.bias = bias;
    return button;
  }

  outputColumn() {
    const column = element("div", { className: "column outputs" });
    column.append(element("div", { className: "head" }, element("h2", {}, "Output")));
    const layer = this.shape.length;
    const button = this.unit(layer, 0);
    button.setAttribute("aria-label", "Output unit");
    button.addEventListener("pointerenter", () => this.act.look(null));
    button.addEventListener("focus", () => this.act.look(null));
    column.append(button);
    return column;
  }

  buildLinks() {
    this.lines.replaceChildren();
    this.seen = svg("g", { class: "seen" });
    this.felt = svg("g", { class: "felt" });
    this.lines.append(this.seen, this.felt);
    this.links = [];
    this.places.forEach(({ units, inputs }, layer) => {
      for (let unit = 0; unit < units; unit++) {
        for (let input = 0; input < inputs; input++) {
          const path = svg("path", {});
          const hit = svg("path", {});
          hit.dataset.link = String(this.links.length);
          this.seen.append(path);
          this.felt.append(hit);
          this.links.push({
            layer, unit, input, path, hit,
            place: this.places[layer].weight(unit, input), width: -1, level: -1,
          });
        }
      }
    });
    this.bound = [...this.columns.children].map((column, i) => {
      const all = [...column.querySelectorAll(".unit")];
      return i === 0 ? all.filter((unit) => this.features.includes(unit.dataset.feature)) : all;
    });
    let map = 0;
    this.units = this.bound.slice(1).flatMap((buttons, layer) => buttons.map((button, unit) => {
      const own = { button, map, bias: this.places[layer].bias(unit) };
      if (layer === this.shape.length) own.map = -1; // the output has a map of its own
      map += this.small * this.small;
      return own;
    }));
    this.turn = -1;
    this.left = 0;
  }

  // ---- sizes and places ----

  place() {
    if (!this.links) return;
    const n = this.columns.children.length;
    const room = this.root.parentElement.clientWidth;
    const column = Math.min(MOST_COLUMN, Math.max(LEAST_COLUMN, Math.floor(room / n)));
    const most = Math.max(...this.shape, 7);
    const high = (window.innerHeight - 420) / most - GAP;
    const unit = Math.round(Math.min(60, 0.46 * column, Math.max(26, high)));
    this.root.style.setProperty("--column", `${column}px`);
    this.root.style.setProperty("--unit", `${unit}px`);
    this.root.style.width = `${column * n}px`;
    const origin = this.root.getBoundingClientRect();
    const height = Math.max(...[...this.columns.children].map((c) => c.scrollHeight), HEAD);
    this.lines.setAttribute("width", String(column * n));
    this.lines.setAttribute("height", String(height));
    const boxes = this.bound.map((units) => units.map((each) => {
      const box = each.querySelector("canvas").getBoundingClientRect();
      return {
        left: box.left - origin.left, right: box.right - origin.left,
        middle: (box.top + box.bottom) / 2 - origin.top,
      };
    }));
    for (const { layer, unit: to, input, path, hit } of this.links) {
      const [from, end] = [boxes[layer][input], boxes[layer + 1][to]];
      if (!from || !end) continue;
      const inputs = this.places[layer].inputs;
      const y = end.middle + (input - (inputs - 1) / 2) * Math.min(4, (unit - 8) / inputs);
      const half = (end.left - from.right) / 2;
      const d = `M${from.right},${from.middle}C${from.right + half},${from.middle} `
        + `${end.left - half},${y} ${end.left},${y}`;
      path.setAttribute("d", d);
      hit.setAttribute("d", d);
    }
  }

  // ---- drawing ----

  /** Begin to draw a frame; `goOn` does it. */
  begin(frame, discrete) {
    this.frame = frame;
    this.discrete = discrete;
    this.left = this.units.length + this.links.length;
    this.seen.style.strokeDashoffset = String(-frame.epoch % 1000);
  }

  /**
   * Draw units and lines until a time, as performance.now() gives it; what is left has its turn
   * at the next call, be it of the same frame or of another.
   */
  goOn(until) {
    const n = this.units.length + this.links.length;
    while (this.left > 0) {
      // The clock is not asked for each line.
      for (let i = 0; i < 16 && this.left > 0; i++) {
        this.turn = (this.turn + 1) % n;
        this.left -= 1;
        if (this.turn < this.units.length) this.drawUnit(this.units[this.turn]);
        else this.drawLink(this.links[this.turn - this.units.length]);
      }
      if (performance.now() > until) break;
    }
    return this.left === 0;
  }

  drawUnit({ button, map, bias }) {
    const { units, output, parameters } = this.frame;
    if (map < 0) button.painter.steps(output, 0, this.discrete);
    else button.painter.steps(units, map, this.discrete);
    button.bias.style.background = colorOf(parameters[bias]);
  }

  /** Only what has changed is touched. */
  drawLink(link) {
    const weight = this.frame.parameters[link.place];
    const width = Math.round(widthOf(weight) * 4) / 4;
    const level = levelOf(weight);
    if (width !== link.width) link.path.style.strokeWidth = String(link.width = width);
    if (level !== link.level) {
      link.level = level;
      link.path.style.stroke = colorOf(weight);
    }
  }

  /** Mark the unit in the large view. */
  mark(unit) {
    this.columns.querySelector(".unit.looked")?.classList.remove("looked");
    if (unit) this.bound[unit[0] + 1]?.[unit[1]]?.classList.add("looked");
  }

  // ---- links ----

  linkOf(target) {
    return target.dataset.link === undefined ? null : this.links[Number(target.dataset.link)];
  }

  hover(event) {
    const link = this.linkOf(event.target);
    if (!link) return;
    const { layer, unit, input, place } = link;
    const ends = `${this.sourceName(layer, input)} to ${this.targetName(layer, unit)}`;
    this.act.hover(`Weight from ${ends}`, place, event);
  }

  /** The name of what feeds a layer. */
  sourceName(layer, input) {
    return layer === 0 ? inputLabel(this.features[input]) : `unit ${input + 1} of layer ${layer}`;
  }

  targetName(layer, unit) {
    return layer === this.shape.length ? "the output" : `unit ${unit + 1} of layer ${layer + 1}`;
  }
}
