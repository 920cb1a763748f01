// The page: what the user does goes to the server, what comes from there is drawn.

import { Chart } from "./chart.js";
import { Card } from "./card.js";
import { element, explain, makeControls } from "./controls.js";
import { Comparison } from "./compare.js";
import { makeDialogs } from "./dialogs.js";
import { Network } from "./network.js";
import { drawScores, Output, thumbnail } from "./output.js";
import { connect } from "./socket.js";
import {
  fitActivations, LIMITS, newSeed, readAddress, roundPoint, setOf, settingsOf, writeAddress,
} from "./state.js";

const byId = (id) => document.getElementById(id);

// Without these a picture is drawn again, and nothing is trained anew.
const ONLY_SHOWN = new Set(["showTestData", "discretize", "hideText"]);
const IN_PLAY = new Set(["speed", "stopEpoch", "stopLoss"]);
const MOST_MS = 10; // for a picture, of the 16 that a screen leaves
const SETS = {
  circle: ["Circle", "Blue points within a ring of orange ones: one line cannot part them."],
  xor: ["XOR", "Exclusive or: blue where both coordinates have the same sign."],
  gauss: ["Gaussian", "Two clouds, which one line parts."],
  spiral: ["Spiral", "Two arms around one another, the hardest of these sets."],
  "reg-plane": ["Plane", "A number that rises evenly from one corner to the other."],
  "reg-gauss": ["Multi Gaussian", "A number with three hills and three hollows."],
  own: ["Draw", "Points of your own: choose a colour, and press or drag in the output."],
  file: ["File", "The points of the file that was dropped onto the page."],
};

let { state, hidden, ofOriginal } = readAddress(location.hash);
let ready = null; // what the server has said of itself
let table = null; // the file that it has
let playing = false;
let frame = null; // the last one
let waiting = null; // one that is to be drawn
let undrawn = 0; // how many have come since the last was drawn
let begun = false; // whether the server has an experiment

const connection = connect(receive);
const send = (command, values) => connection.send(command, values);

const card = new Card(byId("card"), (layer, part, index, value) => {
  send("edit", { layer, part, index, value });
});
const chart = new Chart(byId("chart"), (epoch) => send("go_to", { epoch }));
const output = new Output(byId("result").querySelector(".now"), addPoints);
const comparison = new Comparison(byId("pinned"), chart);
const network = new Network(byId("net"), {
  feature(name) {
    if (state[name] && settingsOf(state).features.length === 1) {
      notice("A net needs one input at least.");
      return;
    }
    change({ [name]: !state[name] });
  },
  shape(networkShape, activations) {
    change({ networkShape, activations });
  },
  look,
  hover: (label, place, event) => card.hover(frame, label, place, event),
  edit: (layer, unit, input) => card.open(network, frame, layer, unit, input),
});
const showControls = makeControls((name, value) => change({ [name]: value }));
const dialogs = makeDialogs({
  hidden: () => hidden,
  hide(name, isHidden) {
    if (isHidden) hidden.add(name);
    else hidden.delete(name);
    show();
  },
  save: (kind) => send("save", { kind }),
  link: () => `cmlp playground "${location.hash}"`,
});
explain(byId("explain"));

// ---- what comes from the server ----

function receive(kind, message) {
  const handlers = {
    ready: started,
    experiment: isNew,
    frame: arrived,
    state: stands,
    table: hasTable,
    program: ({ text }) => dialogs.showProgram(text),
    file: ({ name, content }) => dialogs.download(name, content),
    refused: ({ why }) => notice(why, true),
    gone: () => {
      setPlaying(false);
      notice("The server has ended: start cmlp playground again, and open the address it prints.",
        true);
    },
  };
  handlers[kind](message);
}

function started(message) {
  ready = message;
  Object.assign(LIMITS, { layers: message.most_layers, units: message.most_units });
  output.setSide(message.density);
  show();
  if (message.table) hasTable(message.table);
  else begin();
  if (ofOriginal) {
    const button = element("button", { type: "button" }, "Textbook");
    button.addEventListener("click", () => change({ mode: "textbook", loss: "cross-entropy" }));
    notice("This address comes from the original: trained by its arithmetic.", false, button);
  }
}

function isNew({ points }) {
  begun = true;
  lookedAt = null;
  document.body.dataset.experiments = String(Number(document.body.dataset.experiments ?? 0) + 1);
  chart.clear();
  output.show(points, state.showTestData);
}

function arrived(message) {
  if (waiting === null) requestAnimationFrame(draw);
  waiting = message;
  undrawn += 1;
}

function stands(message) {
  setPlaying(message.playing);
  for (const name of ["learningRate", "momentum", "regularizationRate", "batchSize"]) {
    state[name] = message.settings[name];
  }
  show();
  const reasons = {
    epochs: "Stopped after the epoch that was asked for.",
    loss: "Stopped: the test loss has fallen to what was asked for.",
  };
  if (message.stopped) notice(reasons[message.stopped] ?? message.stopped, !reasons[message.stopped]);
}

function hasTable(message) {
  table = message;
  const name = message.problem === "classification" ? "dataset" : "regDataset";
  notice(`${message.name}: ${message.rows.toLocaleString("en")} rows.`);
  change({ problem: message.problem, [name]: "file" }, true);
}

// ---- what goes to the server ----

/** Take over what the user has chosen. */
function change(values, anew = false) {
  const names = Object.keys(values).filter((name) => anew || state[name] !== values[name]);
  if (names.length === 0) return;
  Object.assign(state, values);
  if ("activation" in values) state.activations = state.networkShape.map(() => state.activation);
  if ("mode" in values && !("loss" in values)) {
    state.loss = state.mode === "original" ? "squared" : "cross-entropy";
  }
  fitActivations(state);
  show();
  if (names.every((name) => ONLY_SHOWN.has(name))) {
    output.show(output.points, state.showTestData);
    redraw();
  }
  else if (names.every((name) => IN_PLAY.has(name))) playing && play();
  else if (!anew && begun && goesOn(names)) send("change", { settings: settingsOf(state) });
  else begin();
}

/** Whether the training can go on with other values of these. */
function goesOn(names) {
  const open = ["learningRate", "momentum", "regularizationRate"];
  if (state.mode === "textbook") open.push("batchSize");
  return names.every((name) => open.includes(name));
}

function begin() {
  if (!ready) return;
  network.build(state, ready.density / ready.thinned);
  const set = setOf(state);
  if (set === "own" && state.points.length < 2) {
    emptySet();
    return;
  }
  if (set === "file" && !table) {
    notice("The file is not in the address: drop it onto the page again.");
    return;
  }
  const own = set === "own" ? { drawn: state.points } : {};
  send("begin", { settings: settingsOf(state), ...own });
}

/** Show that points are to be drawn. */
function emptySet() {
  if (playing) send("pause");
  begun = false;
  frame = null;
  chart.clear();
  chart.draw();
  output.clear();
  output.show({ train: state.points, test: [] }, false);
  notice("Draw points into the output: choose a colour, and press or drag.");
}

function addPoints(stroke) {
  byId("notice").hidden = true;
  change({ points: [...state.points, ...stroke.map(([x, y, t]) => roundPoint(x, y, t))] });
}

function play() {
  byId("notice").hidden = true;
  send("play", {
    epochs: state.speed,
    stop_epoch: state.stopEpoch || null,
    stop_loss: state.stopLoss || null,
  });
}

let lookedAt = null;
function look(unit) {
  const wanted = unit && unit[0] < state.networkShape.length ? unit : null;
  if (String(wanted) === String(lookedAt) || !begun) return;
  lookedAt = wanted;
  send("look", { unit: wanted });
}

// ---- drawing ----

function draw() {
  const start = performance.now();
  frame = waiting;
  waiting = null;
  // It may be of a net that has been changed meanwhile.
  const fits = frame.parameters.length === network.places.at(-1).bias(0) + 1;
  if (fits) {
    chart.add(frame.epoch, frame.train.loss, frame.test.loss);
    redraw(start);
  }
  const took = performance.now() - start;
  drawTimes.push(took);
  if (drawTimes.length > 600) drawTimes.shift();
  send("drawn", { frames: undrawn, milliseconds: took });
  undrawn = 0;
  if (!fits) frame = null;
}

// For the browser's console, and for tests: times of the last drawings, in ms, and whether
// anything is under way.
const drawTimes = [];
Object.assign(globalThis, {
  drawTimes,
  drawing: () => waiting !== null || network.left > 0 || connection.asked() > 0,
});

function redraw(start = performance.now()) {
  if (!frame) return;
  byId("epoch").textContent = frame.epoch.toLocaleString("en");
  network.mark(frame.look);
  output.draw(frame.map, state.discretize);
  drawScores(byId("result"), frame, state.problem === "classification");
  chart.draw();
  card.update(frame);
  byId("shown").textContent = frame.look
    ? `Unit ${frame.look[1] + 1} of layer ${frame.look[0] + 1}` : "Output";
  network.begin(frame, state.discretize);
  drawNetwork(start);
}

/** Draw units and lines as long as a frame may take; the rest in the next ones. */
function drawNetwork(start = performance.now()) {
  if (!network.goOn(start + MOST_MS) && waiting === null) requestAnimationFrame(() => drawRest());
}

function drawRest() {
  if (waiting === null && frame) drawNetwork();
}

/** Bring everything but the picture in line with the state. */
function show() {
  showControls(state, hidden);
  for (const part of document.querySelectorAll("[data-hide]")) {
    part.hidden = hidden.has(part.dataset.hide);
  }
  const n = state.networkShape.length;
  byId("layer-count").textContent = n === 1 ? "1 hidden layer" : `${n} hidden layers`;
  byId("fewer").disabled = n === 0;
  byId("more-layers").disabled = n >= LIMITS.layers;
  byId("text").hidden = state.hideText;
  showSets();
  dialogs.showHidden();
  history.replaceState(null, "", writeAddress(state, hidden));
}

function showSets() {
  const name = state.problem === "classification" ? "dataset" : "regDataset";
  const names = state.problem === "classification"
    ? ["circle", "xor", "gauss", "spiral", "own"] : ["reg-plane", "reg-gauss", "own"];
  if (table?.problem === state.problem) names.push("file");
  const buttons = names.map((set) => {
    const picture = ready?.thumbnails[set] ? thumbnail(ready.thumbnails[set])
      : element("span", { className: "own-set", "aria-hidden": "true" }, set === "own" ? "✎" : "▤");
    const [known, text] = SETS[set];
    const label = set === "file" ? table.name : known;
    const button = element("button", {
      type: "button", "aria-pressed": String(state[name] === set), "aria-label": label,
    }, picture, label);
    button.dataset.set = set;
    button.dataset.explain = text;
    button.addEventListener("click", () => change({ [name]: set }));
    return button;
  });
  const focused = document.activeElement?.dataset?.set;
  byId("sets").replaceChildren(...buttons);
  if (focused) byId("sets").querySelector(`[data-set="${focused}"]`)?.focus();
  const own = setOf(state) === "own";
  byId("brushes").hidden = !own;
  byId("result").classList.toggle("drawing", own);
  output.brush = own ? brush : null;
  for (const button of byId("brushes").querySelectorAll("[data-brush]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.brush) === brush));
  }
}

function setPlaying(value) {
  playing = value;
  document.body.classList.toggle("playing", value);
  byId("play").setAttribute("aria-label", value ? "Pause" : "Play");
}

function notice(text, wrong = false, ...more) {
  const line = byId("notice");
  const close = element("button", { type: "button", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => { line.hidden = true; });
  line.replaceChildren(text, ...more, close);
  line.classList.toggle("wrong", wrong);
  line.hidden = false;
}

// ---- buttons, keys, files ----

let brush = 1;
byId("brushes").addEventListener("click", ({ target }) => {
  const chosen = target.dataset.brush;
  if (chosen === "clear") change({ points: [] });
  else if (chosen === "undo") change({ points: state.points.slice(0, -1) });
  else if (chosen) {
    brush = Number(chosen);
    showSets();
  }
});

const ACTIONS = {
  play: () => (playing ? send("pause") : play()),
  reset: () => begin(),
  step: () => send("step", { epochs: 1 }),
  back: () => send("back"),
  restart: () => change({ start: state.start + 1 }),
  regenerate: () => change({ seed: newSeed(), start: 0 }),
  compare: () => frame && comparison.pin(frame, state, output, ready.density / ready.thinned),
  python: () => send("program"),
  save: () => byId("files").showModal(),
  more: () => byId("settings").showModal(),
  fewer: () => change({ networkShape: state.networkShape.slice(0, -1) }),
  "more-layers": () => change({ networkShape: [...state.networkShape, 2] }),
  unpin: () => comparison.unpin(),
};
for (const [id, action] of Object.entries(ACTIONS)) byId(id).addEventListener("click", action);

const KEYS = {
  " ": "play", ArrowRight: "step", ArrowLeft: "back", r: "reset", w: "restart", d: "regenerate",
  c: "compare",
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") card.close();
  const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea, .card")) return;
  if (event.key === " " && event.target.closest("button")) return;
  event.preventDefault();
  ACTIONS[name]();
});

async function openFile(file) {
  if (!file) return;
  if (file.size > 6e6) notice(`${file.name} is larger than 6 MB.`, true);
  else send("table", { name: file.name, text: await file.text() });
}
byId("file").addEventListener("change", ({ target }) => {
  openFile(target.files[0]);
  target.value = "";
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").hidden = true;
  openFile(event.dataTransfer.files[0]);
});

window.addEventListener("hashchange", () => {
  ({ state, hidden, ofOriginal } = readAddress(location.hash));
  show();
  begin();
});

show();
