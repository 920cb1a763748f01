// The page of handwritten digits: what the user does goes to the server, what comes is drawn.

import { Chart } from "./chart.js";
import { Pad } from "./pad.js";
import { drawDigit, drawPlanes } from "./planes.js";
import { connect } from "./socket.js";

const byId = (id) => document.getElementById(id);
const NUMBERS = ["learningRate", "momentum", "decay", "batchSize"];
const RATES = { adadelta: 1, sgd: 0.05, adam: 0.002 };

const state = {
  set: "digits", net: "", optimizer: "adadelta", learningRate: 1, momentum: 0, decay: 0.001,
  batchSize: 20, seed: 1,
};
let side = 8;
let playing = false;
let training = null; // what the server has said of it
let looked = 0; // the test image that is followed; null for a drawing
let waiting = null; // a frame that is to be drawn
let undrawn = 0;
let frame = null;

const connection = connect(receive, "digits");
const send = (command, values) => connection.send(command, values);
const [losses, accuracies] = ["losses", "accuracies"].map((id) => new Chart(byId(id), () => {}));
const pad = new Pad(byId("drawing"), (pixels) => {
  looked = null;
  send("draw", { pixels });
});

// ---- what comes from the server ----

function receive(kind, message) {
  const handlers = {
    ready, training: isNew, tests: showTests, image: showImage, frame: arrived, state: stands, shapes,
    file: ({ name, content }) => download(name, content),
    refused: ({ why }) => notice(why, true),
    gone: () => notice("The server has ended: start cmlp playground again, and open its address.", true),
  };
  handlers[kind](message);
}

function ready({ sets }) {
  const names = { digits: "1,797 of 8x8 pixels", mnist: "MNIST, 70,000 of 28x28" };
  byId("set").replaceChildren(...sets.map((set) => option(set, names[set])));
  state.set = sets.at(-1);
  byId("set").value = state.set;
  state.net = "ConvNetJS";
  begin();
}

function isNew(message) {
  training = message;
  side = message.side;
  Object.assign(state, message.settings);
  if (byId("preset").options.length === 0 || byId("preset").dataset.side !== String(side)) {
    byId("preset").replaceChildren(
      ...Object.keys(message.nets).map((name) => option(name, name)), option("", "my own"));
    byId("preset").dataset.side = String(side);
  }
  const chosen = Object.entries(message.nets).find(([, text]) => text === state.net);
  byId("preset").value = chosen ? chosen[0] : "";
  byId("text").value = state.net;
  showSettings();
  byId("chain").className = "chain";
  byId("chain").textContent = `${message.weights.toLocaleString("en")} weights, `
    + `${message.samples.toLocaleString("en")} training images`;
  for (const curves of [losses, accuracies]) {
    curves.clear();
    curves.draw();
  }
  byId("layers").replaceChildren(layerBox("filters", "weights of the first layer", "filters"), ...message.layers.map(
    ({ line, shape, weights }, i) => layerBox(line, `${shape.join(" × ")}`
      + (weights ? `, ${weights.toLocaleString("en")} weights` : ""), String(i))));
  document.body.dataset.trainings = String(Number(document.body.dataset.trainings ?? 0) + 1);
}

function layerBox(title, text, id) {
  const box = document.createElement("div");
  const about = document.createElement("div");
  const [head, line] = [document.createElement("h3"), document.createElement("p")];
  [head.textContent, line.textContent] = [title, text];
  about.append(head, line);
  const pictures = document.createElement("div");
  pictures.className = "planes";
  pictures.dataset.layer = id;
  box.append(about, pictures);
  return box;
}

let tests = { places: [], labels: [] };

function showTests(message) {
  tests = message;
  const n = side * side;
  byId("tests").replaceChildren(...message.places.map((place, i) => {
    const button = document.createElement("button");
    button.type = "button";
    const canvas = document.createElement("canvas");
    drawDigit(canvas, message.images.subarray(i * n, (i + 1) * n), side);
    const lines = [0, 1, 2].map(() => document.createElement("span"));
    button.append(canvas, ...lines);
    button.setAttribute("aria-label", `Test image ${place}, a ${message.labels[i]}`);
    button.addEventListener("click", () => {
      looked = place;
      pad.clear();
      send("look", { place });
    });
    return button;
  }));
}

function showImage({ pixels, label }) {
  drawDigit(byId("image"), pixels, side);
  byId("gradients").disabled = label === null;
  byId("image-label").textContent = label === null ? "your drawing, as the net sees it"
    : `test image: a ${label}`;
}

function arrived(message) {
  if (waiting === null) requestAnimationFrame(draw);
  waiting = message;
  undrawn += 1;
}

function stands(message) {
  setPlaying(message.playing);
  if (message.stopped) notice(message.stopped, true);
}

function shapes({ lines, shapes: chain }) {
  const text = lines.map((line, i) => `${line} → ${chain[i + 1].join("×")}`);
  byId("chain").className = "chain";
  byId("chain").textContent = [chain[0].join("×"), ...text].join(", ");
}

// ---- drawing ----

const percent = (share) => `${(100 * share).toFixed(share > 0.9995 ? 0 : 1)} %`;
const number = (value) => (value === null || value === undefined ? "–" : value.toPrecision(3));

function draw() {
  frame = waiting;
  waiting = null;
  losses.add(frame.epoch, frame.loss, frame.test.loss);
  accuracies.add(frame.epoch, NaN, frame.test.accuracy);
  losses.draw();
  accuracies.draw();
  byId("epoch").textContent = frame.epoch.toFixed(2);
  byId("rate").textContent = playing ? Math.round(frame.rate).toLocaleString("en") : "–";
  byId("loss").textContent = number(frame.loss);
  byId("test-loss").textContent = number(frame.test.loss);
  byId("test-accuracy").textContent = percent(frame.test.accuracy);
  byId("accuracy").textContent = frame.validation.accuracy === undefined ? "–"
    : percent(frame.validation.accuracy);
  drawLayers();
  drawBars();
  drawGuesses();
  document.body.dataset.step = String(frame.step);
  send("drawn", { frames: undrawn });
  undrawn = 0;
}

function drawLayers() {
  const wanted = byId("gradients").checked && frame.label !== null;
  const boxes = byId("layers").querySelectorAll(".planes");
  boxes.forEach((box) => {
    if (box.dataset.layer === "filters") {
      drawPlanes(box, frame.filters, frame.filters_shape, true);
      return;
    }
    const i = Number(box.dataset.layer);
    const values = wanted ? frame[`gradient${i}`] : frame[`activation${i}`];
    if (values) drawPlanes(box, values, frame.shapes[i], wanted);
  });
}

function drawBars() {
  const best = frame.probabilities.indexOf(Math.max(...frame.probabilities));
  if (byId("bars").children.length === 0) {
    for (let digit = 0; digit < 10; digit += 1) {
      const row = document.createElement("div");
      const meter = document.createElement("meter");
      meter.max = 1;
      meter.setAttribute("aria-label", `Probability of ${digit}`);
      row.append(document.createElement("span"), meter, document.createElement("span"));
      row.firstChild.textContent = digit;
      byId("bars").append(row);
    }
  }
  [...byId("bars").children].forEach((row, digit) => {
    row.className = digit === best ? "best" : "";
    row.children[1].value = frame.probabilities[digit];
    row.lastChild.textContent = percent(frame.probabilities[digit]);
  });
}

function drawGuesses() {
  [...byId("tests").children].forEach((button, i) => {
    const label = tests.labels[i];
    if (frame.classes.length < 3 * (i + 1)) return;
    button.className = frame.classes[3 * i] === label ? "" : "wrong";
    if (tests.places[i] === looked) button.classList.add("looked");
    [0, 1, 2].forEach((place) => {
      const line = button.children[place + 1];
      const digit = frame.classes[3 * i + place];
      line.textContent = `${digit} ${percent(frame.shares[3 * i + place])}`;
      line.className = digit === label ? "right-one" : "";
    });
  });
}

// ---- what the user does ----

function option(value, text) {
  const found = document.createElement("option");
  [found.value, found.textContent] = [value, text];
  return found;
}

function showSettings() {
  for (const name of [...NUMBERS, "optimizer"]) byId(name).value = state[name];
  byId("set").value = state.set;
  byId("momentum").disabled = state.optimizer !== "sgd";
}

function begin() {
  byId("notice").hidden = true;
  send("begin", { settings: state });
}

function setPlaying(value) {
  playing = value;
  document.body.classList.toggle("playing", playing);
  byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

function notice(text, wrong = false) {
  byId("notice").hidden = false;
  byId("notice").textContent = text;
  byId("notice").classList.toggle("wrong", wrong);
}

function toggle() {
  byId("notice").hidden = true;
  if (playing) send("pause");
  else send("play", { stop_accuracy: byId("stop").value === "" ? null : Number(byId("stop").value) });
}

function download(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

byId("play").addEventListener("click", toggle);
byId("reset").addEventListener("click", begin);
byId("step").addEventListener("click", () => send("step", { steps: 1 }));
byId("others").addEventListener("click", () => send("others"));
byId("gradients").addEventListener("change", () => frame && drawLayers());
byId("clear").addEventListener("click", () => pad.clear());
byId("build").addEventListener("click", () => {
  state.net = byId("text").value;
  begin();
});
byId("preset").addEventListener("change", ({ target }) => {
  if (!target.value) return;
  state.net = training.nets[target.value];
  begin();
});
byId("set").addEventListener("change", ({ target }) => {
  state.set = target.value;
  state.net = byId("preset").value || "ConvNetJS"; // that of this name for such images
  begin();
});
byId("text").addEventListener("input", ({ target }) => {
  byId("preset").value = "";
  send("check", { net: target.value, side });
});
byId("optimizer").addEventListener("change", ({ target }) => {
  state.optimizer = target.value;
  state.learningRate = RATES[state.optimizer];
  if (state.optimizer !== "sgd") state.momentum = 0;
  begin();
});
for (const name of NUMBERS) {
  byId(name).addEventListener("change", ({ target }) => {
    if (target.value === "") return;
    state[name] = Number(target.value);
    send("change", { settings: state });
  });
}
byId("save").addEventListener("click", () => byId("files").showModal());
for (const button of document.querySelectorAll("[data-file]")) {
  button.addEventListener("click", () => send("save", { kind: button.dataset.file }));
}
byId("load").addEventListener("change", async ({ target }) => {
  const file = target.files[0];
  if (!file) return;
  if (file.size > 6e6) {
    notice(`${file.name} has more than 6 MB.`, true);
    return;
  }
  send("load", { settings: state, content: await toBase64(file) });
  target.value = "";
});

function toBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.split(",")[1]));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea, button, label, dialog")) return;
  if (event.key === " ") toggle();
  else if (event.key === "ArrowRight") send("step", { steps: 1 });
  else if (event.key.toLowerCase() === "c") pad.clear();
  else return;
  event.preventDefault();
});
