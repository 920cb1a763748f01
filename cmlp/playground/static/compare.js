// A run that is kept in the picture beside the next one.

import { painter } from "./colors.js";
import { Output } from "./output.js";
import { settingsOf } from "./state.js";

const LABELS = {
  mode: "arithmetic", networkShape: "layers", percTrainData: "training share", batchSize: "batch",
  learningRate: "rate", regularizationRate: "regularisation rate", initZero: "begin at zero",
};

export class Comparison {
  constructor(root, chart) {
    this.root = root;
    this.chart = chart;
    this.output = new Output(fakeReading(root), () => {});
    this.caption = root.querySelector("figcaption");
  }

  /** Keep how it stands: picture, points, curves, and what it was set to. */
  pin(frame, state, output, side) {
    this.settings = settingsOf(state);
    this.root.hidden = false;
    if (frame.look) painter(this.output.map, side).steps(frame.output, 0, state.discretize);
    else {
      this.output.painter = painter(this.output.map, output.side);
      this.output.draw(frame.map, state.discretize);
    }
    this.output.show(output.points, state.showTestData);
    this.chart.pin([...this.chart.rows]);
    this.chart.draw();
    const { mode, optimizer, learningRate, networkShape } = this.settings;
    const accuracy = frame.test.accuracy === undefined
      ? "" : `, accuracy ${(100 * frame.test.accuracy).toFixed(1)} %`;
    this.caption.textContent = `Kept: epoch ${frame.epoch.toLocaleString("en")}, test loss `
      + `${frame.test.loss?.toFixed(3) ?? "∞"}${accuracy}. ${networkShape.join("-") || "no"} units, `
      + `${optimizer}, ${LABELS.learningRate} ${learningRate}, ${mode}.`;
  }

  unpin() {
    this.root.hidden = true;
    this.chart.pin(null);
    this.chart.draw();
  }
}

/** The kept picture has no line for the value under the pointer. */
function fakeReading(root) {
  const line = document.createElement("span");
  line.className = "reading";
  line.hidden = true;
  root.append(line);
  return root;
}
