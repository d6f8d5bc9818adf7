"use strict";
// A large table of numbers, drawn: a matrix of which most is empty.

/**
 * @typedef {object} SheetData
 * @property {string} title
 * @property {string} note
 * @property {number} rows
 * @property {number} columns
 * @property {string} shows the grid whose numbers stand in it
 * @property {number[]} of the place of each triple's cell, row · columns + column, or −1
 * @property {boolean} lit
 */

const NUMBERS = 18; // pixels of a cell from which on its number can be read

class Sheet {
  /** @param {(triple: number | null) => void} point */
  constructor(point) {
    this.canvas = make("canvas", { role: "img" });
    this.caption = make("figcaption");
    this.scroll = make("div", { class: "scroll", role: "group", "aria-label": "sheet" }, this.canvas);
    this.element = make("figure", { class: "sheet" }, this.caption, this.scroll);
    this.canvas.addEventListener("pointermove", (event) => point(this.under(event)));
    this.canvas.addEventListener("pointerleave", () => point(null));
    /** @type {Set<number>} */
    this.marked = new Set();
  }

  /**
   * @param {SheetData} data
   * @param {(triple: number) => string} text the number of a triple's cell
   */
  show(data, text) {
    this.data = data;
    this.text = text;
    /** @type {Map<number, number>} */
    this.first = new Map();
    data.of.forEach((place, triple) => {
      if (place >= 0 && !this.first?.has(place)) this.first?.set(place, triple);
    });
    this.caption.replaceChildren(make("b", {}, data.title), ` ${data.rows} × ${data.columns} `, make("small", {}, data.note));
    this.element.className = `sheet of-${data.shows}${data.lit ? " lit" : ""}`;
    this.canvas.setAttribute("aria-label",
      `${data.title}: ${data.rows} rows, ${data.columns} columns, ${this.first.size} elements. ${data.note}`);
    this.draw();
  }

  /** @param {Set<number>} triples */
  mark(triples) {
    this.marked = triples;
    this.draw();
  }

  draw() {
    const { data, text, first, canvas } = this;
    const room = (this.element.parentElement?.clientWidth || 0) - 2;
    if (!data || !text || !first || room < 20) return;
    const { rows, columns } = data;
    const fits = (/** @type {number} */ tall, /** @type {number} */ least, /** @type {number} */ most) =>
      Math.max(least, Math.min(most, Math.floor(room / columns), Math.floor(tall / rows)));
    const size = !data.lit ? fits(240, 2, 9) : room >= NUMBERS * columns && rows <= 72 ? fits(640, NUMBERS, 32) : fits(480, 3, NUMBERS);
    this.size = size;
    const ratio = window.devicePixelRatio || 1, width = columns * size + 1, height = rows * size + 1;
    this.scroll.tabIndex = width > room ? 0 : -1; // what is scrolled can be reached by keys
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    if (!pen) return;
    const [line, soft, tone, ink, card] = ["--line", "--soft", "--tone", "--ink", "--card"].map((name) => style.getPropertyValue(name));
    pen.scale(ratio, ratio);
    pen.fillStyle = line;
    const gap = size < 6 ? 0 : 1; // lines would be all that is seen
    for (let row = 0; row <= rows; row += gap || rows) pen.fillRect(0, row * size, width, 1);
    for (let column = 0; column <= columns; column += gap || columns) pen.fillRect(column * size, 0, 1, height);
    const marked = new Set([...this.marked].map((triple) => data.of[triple]));
    pen.font = `${Math.min(14, size * 0.46)}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const [place, triple] of first) {
      const x = place % columns * size, y = Math.floor(place / columns) * size, on = marked.has(place);
      pen.fillStyle = on ? tone : soft;
      pen.fillRect(x + gap, y + gap, size - gap, size - gap);
      if (size < NUMBERS) continue;
      pen.fillStyle = on ? card : ink;
      pen.fillText(text(triple), x + size / 2 + 0.5, y + size / 2 + 1, size - 2);
    }
  }

  /** The triple of the cell under the pointer. @param {PointerEvent} event */
  under(event) {
    const box = this.canvas.getBoundingClientRect(), size = this.size || 1, data = this.data;
    const column = Math.floor((event.clientX - box.left) / size), row = Math.floor((event.clientY - box.top) / size);
    if (!data || column < 0 || column >= data.columns || row < 0 || row >= data.rows) return null;
    return this.first?.get(row * data.columns + column) ?? null;
  }
}
