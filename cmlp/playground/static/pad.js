// A canvas to draw digits on.

const WIDTH = 9; // of the pen, in pixels of the canvas
const PAUSE = 40; // ms between two messages

export class Pad {
  /** `changed(pixels)` gets the drawing in base64, a byte for each pixel, as it is drawn. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, last: null, timer: null });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.last = this.place(event);
      this.line(this.last);
    });
    canvas.addEventListener("pointermove", (event) => this.last && this.line(this.place(event)));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => {
        this.last = null;
      });
    }
    this.clear();
  }

  clear() {
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.canvas.width,
      ((event.clientY - box.top) / box.height) * this.canvas.height,
    ];
  }

  line(to) {
    const { context } = this;
    context.strokeStyle = "#fff";
    context.lineWidth = WIDTH;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(...this.last);
    context.lineTo(...to);
    context.stroke();
    this.last = to;
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.changed(this.pixels());
    }, PAUSE);
  }

  pixels() {
    const { width, height } = this.canvas;
    const { data } = this.context.getImageData(0, 0, width, height);
    let text = "";
    for (let i = 0; i < data.length; i += 4) text += String.fromCharCode(data[i]);
    return btoa(text);
  }
}
