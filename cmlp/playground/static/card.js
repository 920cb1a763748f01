// The small card beside a weight or a unit: its values, to be looked at and changed.

import { element } from "./controls.js";

const text = (value) => value.toFixed(3).replace("-", "−");

export class Card {
  /** `edited(layer, part, index, value)` is called for what the user enters. */
  constructor(root, edited) {
    this.root = root;
    this.edited = edited;
    this.fields = [];
    this.place = null;
    document.addEventListener("pointerdown", (event) => {
      if (!this.root.contains(event.target)) this.close();
    });
  }

  /** Show the value at a place of the parameters, beside the pointer; of none, hide it. */
  hover(frame, label, place, event) {
    if (this.fields.length > 0) return;
    this.place = place;
    if (place === null || !frame) {
      this.root.hidden = true;
      return;
    }
    this.root.className = "card look";
    this.root.replaceChildren(`${label}: `, element("b", {}, text(frame.parameters[place])));
    this.move(event.pageX, event.pageY);
  }

  /** Open the values of a unit, or of one of its inputs, to be changed. */
  open(network, frame, layer, unit, input) {
    if (!frame) return;
    const places = network.places[layer];
    const one = input !== null;
    const rows = (one ? [input] : Array.from({ length: places.inputs }, (_, i) => i)).map((i) => ({
      label: `from ${network.sourceName(layer, i)}`,
      part: "weight", index: [unit, i], place: places.weight(unit, i),
    }));
    if (!one) {
      rows.unshift({ label: "Bias", part: "bias", index: [unit], place: places.bias(unit) });
    }
    const target = network.targetName(layer, unit);
    const title = one ? `Weight to ${target}` : `${target[0].toUpperCase()}${target.slice(1)}`;
    this.root.className = "card";
    this.fields = rows.map((row) => this.field(row, layer, frame));
    this.root.replaceChildren(element("strong", {}, title), element("div", { className: "rows" },
      ...this.fields.map(({ input: field, label }) => element("label", {}, label, field))));
    const box = network.bound[layer + 1][unit].getBoundingClientRect();
    this.before = network.bound[layer + 1][unit];
    this.move(box.right + window.scrollX, box.top + window.scrollY);
    this.fields[0].input.focus();
    this.fields[0].input.select();
  }

  field(row, layer, frame) {
    const input = element("input", { type: "number", step: "any" });
    input.value = frame.parameters[row.place].toPrecision(5);
    input.addEventListener("change", () => {
      if (input.value === "" || !Number.isFinite(Number(input.value))) return;
      this.edited(layer, row.part, row.index, Number(input.value));
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      input.blur();
      this.close();
    });
    return { ...row, input };
  }

  move(x, y) {
    this.root.hidden = false;
    const most = document.documentElement.clientWidth - this.root.offsetWidth - 8;
    this.root.style.left = `${Math.max(4, Math.min(x + 12, most))}px`;
    this.root.style.top = `${y + 10}px`;
  }

  /** Values of a new frame; a field that is being written in stays. */
  update(frame) {
    if (this.root.hidden) return;
    for (const { input, place } of this.fields) {
      if (document.activeElement !== input && place < frame.parameters.length) {
        input.value = frame.parameters[place].toPrecision(5);
      }
    }
    if (this.fields.length === 0 && this.place < frame.parameters.length) {
      this.root.querySelector("b").textContent = text(frame.parameters[this.place]);
    }
  }

  close() {
    if (this.fields.length > 0 && this.root.contains(document.activeElement)) this.before?.focus();
    this.fields = [];
    this.place = null;
    this.root.hidden = true;
  }
}
