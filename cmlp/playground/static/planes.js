// Small pictures of layers, weights and digits.

/** Numbers (height, width) as a picture of grey: the largest is white. */
function grey(values, low, high) {
  const pixels = new Uint8ClampedArray(values.length * 4);
  const scale = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < values.length; i += 1) {
    const shade = (values[i] - low) * scale;
    pixels.set([shade, shade, shade, 255], 4 * i);
  }
  return pixels;
}

/** Numbers with a sign: blue above zero, orange below. */
function signed(values, most) {
  const pixels = new Uint8ClampedArray(values.length * 4);
  for (let i = 0; i < values.length; i += 1) {
    const share = most > 0 ? Math.min(1, Math.abs(values[i]) / most) : 0;
    const [r, g, b] = values[i] > 0 ? [8, 119, 189] : [245, 147, 34];
    const mix = (c) => 255 + (c - 255) * share;
    pixels.set([mix(r), mix(g), mix(b), 255], 4 * i);
  }
  return pixels;
}

function paint(canvas, pixels, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** An image of bytes, 255 is ink, on a canvas. */
export function drawDigit(canvas, bytes, side) {
  paint(canvas, grey(bytes, 0, 255), side, side);
}

/**
 * Pictures of numbers of a shape (n, height, width) or (n,) in a box: planes, or one row.  Canvases
 * that are there are used again.
 */
export function drawPlanes(box, values, shape, isSigned) {
  const [n, height, width] = shape.length === 3 ? shape : [1, 1, shape[0]];
  while (box.children.length > n) box.lastChild.remove();
  while (box.children.length < n) box.append(document.createElement("canvas"));
  const [low, high] = range(values);
  const most = Math.max(Math.abs(low), Math.abs(high));
  const zoom = Math.max(1, Math.min(12, Math.floor(56 / height)));
  for (let i = 0; i < n; i += 1) {
    const canvas = box.children[i];
    const part = values.subarray(i * height * width, (i + 1) * height * width);
    paint(canvas, isSigned ? signed(part, most) : grey(part, low, high), width, height);
    canvas.className = shape.length === 3 ? "" : "row";
    if (shape.length === 3) {
      canvas.style.setProperty("width", `${width * zoom}px`);
      canvas.style.setProperty("height", `${height * zoom}px`);
    } else {
      canvas.style.removeProperty("width");
      canvas.style.removeProperty("height");
    }
  }
}
