// The controls: a table, from which they are made and explained.

const RATES = [0.00001, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const DECAYS = [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

export const ACTIVATION_LABELS = {
  relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid", linear: "linear", leaky_relu: "leaky ReLU",
  elu: "ELU", gelu: "GELU", silu: "SiLU", softplus: "softplus", softsign: "softsign",
};

const pairs = (values) => values.map((value) => [value, String(value)]);

/**
 * Every control: where it stands, what it offers, and what it does, in a sentence.  `when` tells
 * whether it has an effect; one without is disabled.  `shown` is what it shows, where that is not
 * what the state says.
 */
export const CONTROLS = [
  {
    name: "learningRate", label: "Learning rate", place: "top", kind: "number",
    options: pairs(RATES),
    text: "How far a step moves the weights against the gradient: too little is slow, too much "
      + "makes the loss jump.",
  },
  {
    name: "activation", label: "Activation", place: "top", kind: "choice",
    options: Object.entries(ACTIVATION_LABELS),
    text: "What each hidden unit makes of the sum of its inputs; each layer can have its own, "
      + "above its units.",
  },
  {
    name: "optimizer", label: "Optimizer", place: "top", kind: "choice",
    options: [["sgd", "SGD"], ["adam", "Adam"], ["rmsprop", "RMSprop"]],
    text: "How steps follow from gradients: SGD takes them as they are, Adam and RMSprop scale "
      + "them for each weight.",
  },
  {
    name: "momentum", label: "Momentum", place: "top", kind: "number",
    options: pairs([0, 0.5, 0.9, 0.99]), when: (state) => state.optimizer !== "adam",
    text: "The share of the last step that goes into the next one, as a ball keeps rolling; Adam "
      + "has one of its own.",
  },
  {
    name: "regularization", label: "Regularisation", place: "top", kind: "choice",
    options: [["none", "none"], ["L1", "L1"], ["L2", "L2"]],
    text: "A price on large weights, against fitting the noise: L1 makes many of them zero, L2 "
      + "makes all of them small.",
  },
  {
    name: "regularizationRate", label: "Regularisation rate", place: "top", kind: "number",
    options: pairs(DECAYS), when: (state) => state.regularization !== "none",
    text: "How high the price on large weights is.",
  },
  {
    name: "dropout", label: "Dropout", place: "top", kind: "number",
    options: pairs([0, 0.1, 0.2, 0.3, 0.5]),
    text: "The share of hidden units that each training step leaves out at random, so that none "
      + "relies on another.",
  },
  {
    name: "problem", label: "Problem type", place: "top", kind: "choice",
    options: [["classification", "Classification"], ["regression", "Regression"]],
    text: "Whether the net tells two classes apart or predicts a number.",
  },
  {
    name: "loss", label: "Loss", place: "top", kind: "choice",
    options: [["cross-entropy", "cross-entropy"], ["squared", "squared error"]],
    when: (state) => state.problem === "classification",
    shown: (state) => (state.problem === "classification" ? state.loss : "squared"),
    text: "What is made small. Cross-entropy takes the output as a probability; squared error "
      + "takes the distance of a tanh output from −1 and 1.",
  },
  {
    name: "mode", label: "Arithmetic", place: "top", kind: "choice",
    options: [["textbook", "textbook"], ["original", "as in the original"]],
    text: "Textbook: Xavier’s or He’s initial weights, a new order in each epoch, cross-entropy. "
      + "Original: weights from −0.5 to 0.5, biases 0.1, one order for ever, squared error.",
  },
  {
    name: "percTrainData", label: "Training share", place: "data", kind: "slider",
    low: 10, high: 90, step: 10, unit: " %",
    text: "How many of the points the net learns from; the others test it.",
  },
  {
    name: "noise", label: "Noise", place: "data", kind: "slider",
    low: 0, high: 50, step: 5, unit: "",
    when: (state) => !["own", "file"].includes(
      state.problem === "classification" ? state.dataset : state.regDataset,
    ),
    text: "How far points stray to the wrong side.",
  },
  {
    name: "batchSize", label: "Batch size", place: "data", kind: "slider",
    low: 1, high: 30, step: 1, unit: "",
    text: "How many points a step of training looks at: few make it jumpy, many make it slow.",
  },
  {
    name: "showTestData", label: "Show test data", place: "result", kind: "flag",
    text: "Draws the points that the net has not learned from, too.",
  },
  {
    name: "discretize", label: "Discretize output", place: "result", kind: "flag",
    text: "Shows which class the net decides for, in place of how sure it is.",
  },
  {
    name: "initZero", label: "Begin at zero", place: "more", kind: "flag",
    text: "All weights and biases begin at zero, so that the units of a layer stay alike for ever: "
      + "a reason for random weights.",
  },
  {
    name: "hideText", label: "Hide the text", place: "more", kind: "flag",
    text: "Takes the explanations below the picture away.",
  },
  {
    name: "speed", label: "Epochs per picture", place: "player", kind: "number",
    options: pairs([1, 5, 20, 100]),
    text: "How much is trained between two pictures; the training never waits for the drawing.",
  },
  {
    name: "stopEpoch", label: "Stop after epoch", place: "stop", kind: "field", step: 1,
    text: "Pauses when so many epochs are done; empty for no limit.",
  },
  {
    name: "stopLoss", label: "Stop at a test loss of", place: "stop", kind: "field", step: "any",
    text: "Pauses after the first epoch whose test loss is this or less; empty for no limit.",
  },
];

/** What can be hidden besides, by the names of the original's addresses. */
export const OTHERS = [
  ["playButton", "Play button"], ["stepButton", "Step button"], ["resetButton", "Reset button"],
  ["dataset", "Which data set"], ["numHiddenLayers", "Number of hidden layers"],
];

/** Sentences of things that are not in the table, by their ids. */
export const SENTENCES = {
  play: "Trains, and pauses (space).",
  reset: "Begins anew with the same data and the same initial weights (R).",
  step: "Trains for one epoch: every training point is looked at once (right arrow).",
  back: "Goes back to the picture before (left arrow).",
  restart: "Begins anew with other random weights and the same data (W).",
  regenerate: "Draws other points, and other initial weights (D).",
  compare: "Keeps this run in the picture, to be seen beside the next one.",
  python: "The Python program that does exactly what the page has done.",
  save: "The net as a file: a cmlp model, ONNX for other programs, or C source code.",
  more: "What can be seen on this page, for those who prepare it for others.",
};

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list" && name !== "for") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

export { element };

/** Make a `select` whose values are of the options' own types. */
function makeSelect(control, changed) {
  const select = element("select", { id: control.name });
  select.append(...control.options.map(([, label], i) => element("option", { value: i }, label)));
  const values = control.options.map(([value]) => value);
  select.addEventListener("change", () => changed(values[select.selectedIndex]));
  return {
    input: select,
    show(value) {
      let place = values.indexOf(value);
      if (place < 0) { // an address may have any number
        values.push(value);
        select.append(element("option", { value: values.length - 1 }, String(value)));
        place = values.length - 1;
      }
      select.selectedIndex = place;
    },
  };
}

function makeSlider(control, changed) {
  const { low, high, step } = control;
  const input = element("input", {
    id: control.name, type: "range", min: low, max: high, step, value: low,
  });
  const shown = element("output", { htmlFor: control.name });
  input.addEventListener("input", () => { shown.textContent = `${input.value}${control.unit}`; });
  input.addEventListener("change", () => changed(Number(input.value)));
  return {
    input,
    shown,
    show(value) {
      input.max = Math.max(high, value);
      input.value = value;
      shown.textContent = `${value}${control.unit}`;
    },
  };
}

function makeFlag(control, changed) {
  const input = element("input", { id: control.name, type: "checkbox" });
  input.addEventListener("change", () => changed(input.checked));
  return { input, show(value) { input.checked = value; } };
}

function makeField(control, changed) {
  const input = element("input", {
    id: control.name, type: "number", min: 0, step: control.step, placeholder: "never",
  });
  input.addEventListener("change", () => {
    if (input.checkValidity()) changed(input.value === "" ? 0 : Number(input.value));
  });
  return { input, show(value) { input.value = value === 0 ? "" : value; } };
}

const MAKERS = {
  choice: makeSelect, number: makeSelect, slider: makeSlider, flag: makeFlag, field: makeField,
};

/**
 * Put every control into its place, the element with the id "controls-PLACE".
 *
 * `changed(name, value)` is called for what the user does.  Gives `show(state, hidden)`.
 */
export function makeControls(changed) {
  const made = CONTROLS.map((control) => {
    const found = MAKERS[control.kind](control, (value) => changed(control.name, value));
    const label = element("label", { htmlFor: control.name }, control.label);
    const box = element("div", { className: `control ${control.kind}`, title: control.text });
    box.dataset.name = control.name;
    found.input.setAttribute("aria-describedby", `text-${control.name}`);
    const text = element("span", { id: `text-${control.name}`, hidden: true }, control.text);
    if (control.kind === "flag") box.append(found.input, label, text);
    else if (found.shown) box.append(element("div", {}, label, found.shown), found.input, text);
    else box.append(label, found.input, text);
    document.getElementById(`controls-${control.place}`).append(box);
    return { control, box, ...found };
  });
  return function show(state, hidden) {
    for (const { control, box, input, show: set } of made) {
      set(control.shown ? control.shown(state) : state[control.name]);
      box.hidden = hidden.has(control.name);
      input.disabled = control.when ? !control.when(state) : false;
      box.classList.toggle("idle", input.disabled);
    }
  };
}

/** Show the sentence of whatever is pointed at or has the focus, in one line of the page. */
export function explain(line) {
  const texts = new Map(CONTROLS.map((control) => [control.name, control]));
  const shown = (target) => {
    const box = target.closest?.("[data-name], [data-explain], button[id]");
    if (!box) return null;
    if (box.dataset.name) {
      const control = texts.get(box.dataset.name);
      return control && [control.label, control.text];
    }
    if (box.dataset.explain) return [box.getAttribute("aria-label") ?? "", box.dataset.explain];
    return SENTENCES[box.id] ? [box.getAttribute("aria-label") ?? "", SENTENCES[box.id]] : null;
  };
  const tell = (event) => {
    const found = shown(event.target);
    if (found) line.replaceChildren(element("strong", {}, found[0]), ` ${found[1]}`);
  };
  document.addEventListener("pointerover", tell);
  document.addEventListener("focusin", tell);
}
