// Colours of values from -1 (orange) over 0 (grey) to 1 (blue), as in the original.

const ENDS = [[245, 147, 34], [232, 234, 235], [8, 119, 189]];
const LEVELS = 255;

function mix(value) {
  const [from, to] = value < 0 ? [ENDS[1], ENDS[0]] : [ENDS[1], ENDS[2]];
  return from.map((part, i) => Math.round(part + (to[i] - part) * Math.abs(value)));
}

const rgb = Array.from({ length: LEVELS }, (_, i) => mix((i - 127) / 127));

/** Pixels by level, 0 to 254; level 127 is 0. */
const pixels = Uint32Array.from(rgb, ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r);

const names = rgb.map((parts) => `rgb(${parts.join(",")})`);

export function levelOf(value) {
  return value > 1 ? 254 : value < -1 ? 0 : Math.round(value * 127) + 127;
}

export function colorOf(value) {
  return names[levelOf(value)];
}

/** Something to draw square maps of `side` values on a canvas with. */
export function painter(canvas, side) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const cells = new Uint32Array(image.data.buffer);
  const show = () => context.putImageData(image, 0, 0);
  return {
    /** Steps of -127 to 127, as the server sends them. */
    steps(values, offset, discrete) {
      for (let i = 0; i < cells.length; i++) {
        const value = values[offset + i];
        cells[i] = pixels[discrete ? (value >= 0 ? 254 : 0) : value + 127];
      }
      show();
    },
    numbers(values, discrete) {
      for (let i = 0; i < cells.length; i++) {
        const value = values[i];
        cells[i] = pixels[discrete ? (value >= 0 ? 254 : 0) : levelOf(value)];
      }
      show();
    },
    clear() {
      cells.fill(pixels[127]);
      show();
    },
  };
}
