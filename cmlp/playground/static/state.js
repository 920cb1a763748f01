// What the controls stand at, and the part of the address behind # that says the same.
//
// The names and values of the original's addresses are all understood and written; names that it
// does not know follow behind them.

export const FEATURES = ["x", "y", "xSquared", "ySquared", "xTimesY", "sinX", "sinY"];

const ACTIVATIONS = [
  "relu", "tanh", "sigmoid", "linear", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign",
];

/** Every name of an address: its type, its default, and what it may be. */
const PROPS = {
  activation: { type: "choice", start: "tanh", options: ACTIVATIONS },
  regularization: { type: "choice", start: "none", options: ["none", "L1", "L2"] },
  batchSize: { type: "whole", start: 10, low: 1, high: 1e6 },
  dataset: {
    type: "choice", start: "circle", options: ["circle", "xor", "gauss", "spiral", "own", "file"],
  },
  regDataset: {
    type: "choice", start: "reg-plane", options: ["reg-plane", "reg-gauss", "own", "file"],
  },
  learningRate: { type: "number", start: 0.03, low: 0, high: 100 },
  regularizationRate: { type: "number", start: 0, low: 0, high: 100 },
  noise: { type: "whole", start: 0, low: 0, high: 50 },
  networkShape: { type: "shape", start: [4, 2] },
  seed: { type: "text", start: "" },
  showTestData: { type: "flag", start: false },
  discretize: { type: "flag", start: false },
  percTrainData: { type: "whole", start: 50, low: 10, high: 90 },
  x: { type: "flag", start: true },
  y: { type: "flag", start: true },
  xTimesY: { type: "flag", start: false },
  xSquared: { type: "flag", start: false },
  ySquared: { type: "flag", start: false },
  sinX: { type: "flag", start: false },
  sinY: { type: "flag", start: false },
  problem: { type: "choice", start: "classification", options: ["classification", "regression"] },
  initZero: { type: "flag", start: false },
  hideText: { type: "flag", start: false },
  // ours
  mode: { type: "choice", start: "textbook", options: ["textbook", "original"] },
  loss: { type: "choice", start: "cross-entropy", options: ["cross-entropy", "squared"] },
  optimizer: { type: "choice", start: "sgd", options: ["sgd", "adam", "rmsprop"] },
  momentum: { type: "number", start: 0, low: 0, high: 0.999 },
  dropout: { type: "number", start: 0, low: 0, high: 0.9 },
  activations: { type: "names", start: [], options: ACTIVATIONS },
  start: { type: "whole", start: 0, low: 0, high: 1e6 },
  speed: { type: "whole", start: 5, low: 1, high: 100 },
  stopEpoch: { type: "whole", start: 0, low: 0, high: 1e9 },
  stopLoss: { type: "number", start: 0, low: 0, high: 1e9 },
  points: { type: "points", start: [] },
};

/** Names that only this page's own addresses have. */
const OURS = Object.keys(PROPS).slice(Object.keys(PROPS).indexOf("mode"));

const SENT = [
  "mode", "problem", "dataset", "regDataset", "noise", "percTrainData", "seed", "start",
  "networkShape", "activations", "loss", "optimizer", "learningRate", "momentum",
  "regularization", "regularizationRate", "dropout", "batchSize", "initZero",
];

const HIDE = "_hide";

// Coordinates of drawn points are kept in steps that a byte counts.
const STEPS = 20;

export const LIMITS = { layers: 10, units: 16 };

function parseOne(prop, text) {
  switch (prop.type) {
    case "choice":
      return prop.options.includes(text) ? text : undefined;
    case "whole":
    case "number": {
      const value = Number(text);
      if (text.trim() === "" || !Number.isFinite(value)) return undefined;
      const inside = Math.min(prop.high, Math.max(prop.low, value));
      return prop.type === "whole" ? Math.round(inside) : inside;
    }
    case "flag":
      return text.trim() === "" ? undefined : text !== "false";
    case "shape":
      return list(text)
        .map(Number)
        .filter((n) => Number.isInteger(n) && n > 0)
        .map((n) => Math.min(n, LIMITS.units))
        .slice(0, LIMITS.layers);
    case "names":
      return list(text).every((name) => prop.options.includes(name)) ? list(text) : undefined;
    case "points":
      return decodePoints(text);
    default:
      return text.trim() === "" ? undefined : text.slice(0, 40);
  }
}

function list(text) {
  return text.trim() === "" ? [] : text.split(",");
}

function encodePoints(points) {
  const bytes = points.flatMap(([x, y, t]) => [
    Math.round(x * STEPS) + 128, Math.round(y * STEPS) + 128, t > 0 ? 1 : 0,
  ]);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_")
    .replaceAll("=", "");
}

function decodePoints(text) {
  let bytes;
  try {
    bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return undefined;
  }
  const points = [];
  for (let i = 0; i + 2 < bytes.length; i += 3) {
    points.push(roundPoint(
      (bytes.charCodeAt(i) - 128) / STEPS, (bytes.charCodeAt(i + 1) - 128) / STEPS,
      bytes.charCodeAt(i + 2) ? 1 : -1,
    ));
  }
  return points;
}

/** A drawn point as an address keeps it, within the square. */
export function roundPoint(x, y, target) {
  const inside = (v) => Math.min(6, Math.max(-6, Math.round(v * STEPS) / STEPS));
  return [inside(x), inside(y), target];
}

export function newSeed() {
  return Math.random().toFixed(5);
}

/**
 * Read the part of an address behind #.
 *
 * Gives the state, the names of hidden controls, and whether it is an address of the original,
 * which stands for the original's arithmetic, too.
 */
export function readAddress(hash) {
  const found = new Map(
    hash.replace(/^#/, "").split("&").filter((part) => part.includes("=")).map((part) => {
      const cut = part.indexOf("=");
      return [safeDecode(part.slice(0, cut)), safeDecode(part.slice(cut + 1))];
    }),
  );
  const state = {};
  let known = 0;
  for (const [name, prop] of Object.entries(PROPS)) {
    const value = found.has(name) ? parseOne(prop, found.get(name)) : undefined;
    known += value !== undefined;
    state[name] = value === undefined ? structuredClone(prop.start) : value;
  }
  const ofOriginal = known > 0 && !OURS.some((name) => found.has(name));
  if (ofOriginal) Object.assign(state, { mode: "original", loss: "squared" });
  if (state.seed === "") state.seed = newSeed();
  if (!FEATURES.some((name) => state[name])) state.x = true;
  fitActivations(state);
  const hidden = new Set(
    [...found].filter(([name, value]) => name.endsWith(HIDE) && value === "true")
      .map(([name]) => name.slice(0, -HIDE.length)),
  );
  return { state, hidden, ofOriginal };
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The part of the address behind # for a state and hidden controls. */
export function writeAddress(state, hidden) {
  const parts = [];
  for (const [name, prop] of Object.entries(PROPS)) {
    let value = state[name];
    if (prop.type === "points") {
      if (value.length === 0 || state.dataset !== "own") continue;
      value = encodePoints(value);
    } else if (name === "activations") {
      if (value.every((each) => each === state.activation)) continue;
    } else if ((name === "stopEpoch" || name === "stopLoss" || name === "start") && !value) {
      continue;
    }
    parts.push(`${name}=${encodeURI(String(value)).replaceAll("&", "%26")}`);
  }
  parts.push(...[...hidden].map((name) => `${name}${HIDE}=true`));
  return `#${parts.join("&")}`;
}

/** Give every hidden layer its activation: its own, or that of all. */
export function fitActivations(state) {
  const n = state.networkShape.length;
  state.activations = state.activations.slice(0, n);
  while (state.activations.length < n) state.activations.push(state.activation);
}

/** The settings that the server wants. */
export function settingsOf(state) {
  const settings = Object.fromEntries(SENT.map((name) => [name, state[name]]));
  settings.features = FEATURES.filter((name) => state[name]);
  return settings;
}

/** The name of the set in use. */
export function setOf(state) {
  return state.problem === "classification" ? state.dataset : state.regDataset;
}
