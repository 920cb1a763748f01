// The curves of training and test loss.

const MOST = 1500;
const INK = { train: "#8a9199", test: "#20262c" };

export class Chart {
  /** Draws on a canvas; `goTo(epoch)` is called for a click on it. */
  constructor(canvas, goTo) {
    this.canvas = canvas;
    this.pinned = null;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("click", (event) => {
      const last = this.rows.at(-1);
      if (!last || last[0] === 0) return;
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      const epoch = Math.round(Math.min(1, Math.max(0, share)) * this.end());
      if (epoch < last[0]) goTo(epoch);
    });
  }

  clear() {
    this.rows = [];
  }

  /** Losses after an epoch; what was there from this epoch on is forgotten. */
  add(epoch, train, test) {
    while (this.rows.length > 0 && this.rows.at(-1)[0] >= epoch) this.rows.pop();
    this.rows.push([epoch, train, test]);
    if (this.rows.length > MOST) this.rows = this.rows.filter((_, i) => i % 2 === 0);
  }

  /** Keep these curves in the picture, or none. */
  pin(rows) {
    this.pinned = rows;
  }

  end() {
    return Math.max(1, this.rows.at(-1)?.[0] ?? 0, this.pinned?.at(-1)?.[0] ?? 0);
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    let most = 0;
    for (const [, train, test] of [...this.rows, ...(this.pinned ?? [])]) {
      if (train > most) most = train;
      if (test > most) most = test;
    }
    if (this.rows.length === 0) return;
    const top = most * 1.05 || 1;
    const end = this.end();
    const place = (epoch, loss) => [(epoch / end) * width, height - 1 - (loss / top) * (height - 2)];
    context.strokeStyle = "#e3e6e9";
    context.lineWidth = 1;
    context.beginPath();
    for (const share of [0.25, 0.5, 0.75]) {
      context.moveTo(0, Math.round(height * share) + 0.5);
      context.lineTo(width, Math.round(height * share) + 0.5);
    }
    context.stroke();
    const line = (rows, column, color, dash) => {
      context.strokeStyle = color;
      context.lineWidth = 1.6;
      context.setLineDash(dash);
      context.beginPath();
      for (const row of rows) {
        if (Number.isFinite(row[column])) context.lineTo(...place(row[0], row[column]));
      }
      context.stroke();
      context.setLineDash([]);
    };
    if (this.pinned) {
      line(this.pinned, 1, "#b79be0", [4, 3]);
      line(this.pinned, 2, "#6f3fc0", [4, 3]);
    }
    line(this.rows, 1, INK.train, []);
    line(this.rows, 2, INK.test, []);
    context.fillStyle = "#5b646c";
    context.font = "11px system-ui, sans-serif";
    context.fillText(top.toPrecision(2), 3, 11);
    context.textAlign = "right";
    context.fillText(`epoch ${end.toLocaleString("en", { maximumFractionDigits: 1 })}`, width - 3, height - 4);
    context.textAlign = "left";
  }
}
