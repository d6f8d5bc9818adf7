"use strict";
// A picture of which pixels are pointed at and picked, under frames, and with numbers where they fit.

/** @typedef {[number, number]} Span first and last, both in it */
/** @typedef {{rows: Span, columns: Span, tone: string, dash?: number[]}} Frame */

/**
 * @typedef {object} PictureData
 * @property {string} label
 * @property {string[]} sources pictures, one over the other
 * @property {boolean} [pale] whether the first picture is
 * @property {[number, number]} size height and width
 * @property {Frame[]} [frames] what lies outside of the picture is drawn, too
 * @property {[number, number] | null} [at] the pixel that is picked
 * @property {Float32Array} [numbers] of the pixels
 */

const CELL = 34; // pixels on the screen of a pixel in which its number can be read

class Picture {
  /**
   * @param {number} most pixels of its longer side on the screen
   * @param {(row: number, column: number) => void} [pick]
   * @param {(row: number, column: number) => void} [point]
   */
  constructor(most, pick, point = () => {}) {
    this.most = most;
    this.pick = pick;
    this.canvas = make("canvas", { class: "pixels" });
    this.caption = make("figcaption");
    this.element = make("figure", { class: "picture" }, this.caption, this.canvas);
    /** @type {Map<string, HTMLImageElement>} */
    this.images = new Map();
    this.scale = 1;
    this.corner = [0, 0];
    if (pick || point.length) this.canvas.tabIndex = 0;
    /** @type {[number, number] | null} */
    this.walked = null; // by arrow keys
    this.canvas.addEventListener("pointermove", (event) => this.under(event, point));
    this.canvas.addEventListener("click", (event) => pick && this.under(event, pick));
    this.canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const move = moves[/** @type {keyof typeof moves} */ (event.key)];
      if (!move || !this.data || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const far = event.shiftKey ? 8 : 1, from = (pick && this.data.at) || this.walked || [0, 0];
      const [row, column] = this.walked = /** @type {Span} */ ([0, 1].map((i) =>
        Math.max(0, Math.min((this.data?.size[i] || 1) - 1, from[i] + far * move[i]))));
      if (pick) this.data.at = [row, column]; // the next key may come before the answer
      this.draw();
      (pick || point)(row, column);
    });
  }

  /** @param {PictureData} data */
  show(data) {
    this.data = data;
    this.caption.textContent = data.label;
    this.canvas.setAttribute("role", this.canvas.tabIndex === 0 ? "application" : "img");
    this.canvas.setAttribute("aria-label", data.label + (this.canvas.tabIndex === 0 ? "; arrow keys move" : ""));
    const images = new Map(data.sources.map((source) => {
      const image = this.images.get(source) || new Image();
      if (!image.src) {
        image.addEventListener("load", () => this.draw());
        image.src = source;
      }
      return [source, image];
    }));
    this.images = images;
    this.draw();
  }

  draw() {
    const { data, canvas } = this;
    if (!data) return;
    const [height, width] = data.size, frames = data.frames || [];
    const top = Math.min(0, ...frames.map((each) => each.rows[0])), left = Math.min(0, ...frames.map((each) => each.columns[0]));
    const high = Math.max(height - 1, ...frames.map((each) => each.rows[1])) + 1 - top;
    const wide = Math.max(width - 1, ...frames.map((each) => each.columns[1])) + 1 - left;
    const parent = this.element.parentElement, around = parent?.clientWidth || this.most;
    const pair = around < 400 && this.most === 256 && parent?.matches(".gallery"); // two side by side
    const room = Math.min(this.most, (pair ? (around - 14) / 2 : around) - 2);
    const ratio = window.devicePixelRatio || 1, scale = this.scale = Math.min(room / wide, this.most / high);
    this.corner = [top, left];
    canvas.width = Math.round(wide * scale * ratio);
    canvas.height = Math.round(high * scale * ratio);
    canvas.style.width = `${wide * scale}px`;
    const pen = canvas.getContext("2d");
    if (!pen) return;
    const style = getComputedStyle(canvas);
    pen.scale(scale * ratio, scale * ratio);
    pen.translate(-left, -top);
    pen.imageSmoothingEnabled = false;
    pen.fillStyle = style.getPropertyValue("--line"); // what lies outside
    pen.fillRect(left, top, wide, high);
    pen.fillStyle = style.getPropertyValue("--card");
    pen.fillRect(0, 0, width, height);
    for (const image of this.images.values()) {
      const pale = data.pale && image.src === data.sources[0];
      [pen.globalAlpha, pen.filter] = pale ? [0.4, "grayscale(1)"] : [1, "none"];
      if (image.complete) pen.drawImage(image, 0, 0, width, height);
    }
    if (data.numbers && scale >= CELL) this.write(pen, data.numbers, style.getPropertyValue("--ink"));
    for (const { rows, columns, tone, dash } of frames) {
      if (rows[1] < rows[0]) continue;
      const box = /** @type {const} */ ([columns[0], rows[0], columns[1] - columns[0] + 1, rows[1] - rows[0] + 1]);
      for (const [colour, line] of /** @type {[string, number][]} */ ([["#fff", 5], [tone, 3]])) {
        pen.setLineDash((colour === tone && dash || []).map((n) => n / scale));
        pen.strokeStyle = colour;
        pen.lineWidth = line / scale;
        pen.strokeRect(...box);
      }
    }
    pen.setLineDash([]);
    if (!data.at) return;
    const [row, column] = data.at, radius = Math.max(0.5, 5 / scale);
    for (const [colour, line] of /** @type {[string, number][]} */ ([["#000", 5], ["#fff", 2]])) {
      pen.strokeStyle = colour;
      pen.lineWidth = line / scale;
      pen.beginPath();
      pen.arc(column + 0.5, row + 0.5, radius, 0, 7);
      pen.stroke();
    }
  }

  /** @param {CanvasRenderingContext2D} pen @param {Float32Array} numbers @param {string} ink */
  write(pen, numbers, ink) {
    const width = this.data?.size[1] || 1;
    pen.fillStyle = ink;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = `${13 / this.scale}px system-ui, sans-serif`;
    numbers.forEach((value, i) => pen.fillText(short(+value.toPrecision(3)), i % width + 0.5, Math.floor(i / width) + 0.5, 0.95));
  }

  /** Tell the pixel under the pointer. @param {MouseEvent} event @param {(row: number, column: number) => void} tell */
  under(event, tell) {
    const box = this.canvas.getBoundingClientRect(), [height, width] = this.data?.size || [0, 0];
    const row = Math.floor((event.clientY - box.top) / this.scale + this.corner[0]);
    const column = Math.floor((event.clientX - box.left) / this.scale + this.corner[1]);
    if (row >= 0 && row < height && column >= 0 && column < width) tell(row, column);
  }
}
