"use strict";
// A grid of numbers: pointed at, walked through, pinned and changed.

/**
 * @typedef {object} GridData
 * @property {string} name
 * @property {string} what
 * @property {[string, string][]} planes how each is called, and how its places begin
 * @property {number[]} shape of the whole array
 * @property {number} rows
 * @property {number} columns
 * @property {[number, number]} pad rows and columns of padding on each side
 * @property {(number | null)[]} values without padding
 * @property {string | null} edit the setting that holds changed numbers
 * @property {boolean} [picture] whether 0 to 1 is black to white
 * @property {string} [outside] what stands in the padding, "0" by default
 * @property {number} [shade] the number that is shaded most; none by default
 * @property {number} [digits] at most shown of a number, 4 by default
 * @property {boolean} [paint] whether cells are painted and not typed into
 */

/**
 * @typedef {object} GridEvents
 * @property {(index: number | null) => void} point
 * @property {(index: number) => void} pin
 * @property {() => void} free
 * @property {(place: string, value: number) => void} edit
 * @property {(index: number, key: string | null) => boolean} [paint] a cell by the brush, or by a key; false if
 *   this paints nothing
 */

const PIXELS_A_STEP = 6; // of dragging

class Grid {
  /**
   * @param {string} key also its colour
   * @param {GridEvents} events
   */
  constructor(key, events) {
    this.key = key;
    this.events = events;
    this.element = make("section", { class: `tensor of-${key}` });
    /** @type {HTMLTableCellElement[]} */
    this.cells = [];
    /** @type {Set<HTMLElement>} */
    this.marked = new Set();
    this.shape = "";
    /** @type {GridData} */
    this.data = { name: "", what: "", planes: [], shape: [], rows: 1, columns: 1, pad: [0, 0], values: [], edit: null };
    this.title = make("h3");
  }

  /** @param {GridData} data */
  show(data) {
    this.data = data;
    const shape = JSON.stringify([data.planes, data.rows, data.columns, data.pad]);
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.title.replaceChildren(
      make("b", {}, data.name), ` ${data.what} `, make("small", {}, data.shape.join(" × ")));
    this.element.classList.toggle("result", data.edit === null);
    this.element.classList.toggle("editable", this.editable);
    this.element.classList.toggle("painted", !!data.paint);
    this.numbers(data.values);
  }

  /** Rows of a plane, with padding. */
  get height() {
    return this.data.rows + 2 * this.data.pad[0];
  }

  get width() {
    return this.data.columns + 2 * this.data.pad[1];
  }

  get editable() {
    return !RECORDED && this.data.edit !== null && !this.data.paint;
  }

  /**
   * Write numbers into the cells; undefined ones are left open.
   * @param {(number | null | undefined)[]} values
   */
  numbers(values) {
    const { data } = this;
    this.cells.forEach((cell, index) => {
      const inside = this.inside(index), value = inside ? values[this.inner(index)] : 0;
      const text = value === undefined ? "" : inside ? short(value, data.digits) : data.outside || "0";
      if (cell.textContent !== text && !cell.querySelector("input")) cell.textContent = text;
      cell.setAttribute("aria-label", `${this.name(index)} ${value === undefined ? "open" : text}`);
      const grey = data.picture && this.inside(index) ? Math.round(255 * Math.min(1, Math.max(0, value ?? 0))) : null;
      const tint = inside && data.shade ? Math.min(40, Math.abs(value ?? 0) / data.shade * 40) : 0;
      cell.style.background = grey !== null ? `rgb(${grey} ${grey} ${grey})`
        : tint ? `color-mix(in srgb, var(--${(value ?? 0) < 0 ? "w" : "tone"}) ${tint.toFixed(1)}%, var(--card))` : "";
      cell.style.color = grey === null ? "" : grey > 117 ? "#000" : "#fff";
    });
  }

  build() {
    const { planes } = this.data;
    const active = this.cells.indexOf(/** @type {any} */ (document.activeElement));
    this.cells = [];
    this.marked.clear();
    const tables = planes.map(([label], plane) => {
      const rows = Array.from({ length: this.height }, (_, row) =>
        make("tr", {}, ...Array.from({ length: this.width }, (_, column) =>
          this.cell((plane * this.height + row) * this.width + column))));
      const name = `${this.data.what} ${label}`.trim();
      return make("figure", {}, ...(label ? [make("figcaption", {}, label)] : []),
        make("table", { role: "grid", "aria-label": name, "aria-readonly": !this.editable }, make("tbody", {}, ...rows)));
    });
    const size = Math.max(this.width, this.height);
    const body = make("div", { class: `planes ${size <= 8 ? "" : size <= 12 ? "medium" : "small"}` }, ...tables);
    body.style.setProperty("--columns", String(this.width));
    this.element.replaceChildren(this.title, body);
    this.cells.forEach((each, index) => {
      if (index % (this.height * this.width) === this.index(0, 0)) each.tabIndex = 0;
    });
    if (active >= 0) this.cells[Math.min(active, this.cells.length - 1)].focus();
  }

  /** @param {number} index */
  cell(index) {
    const cell = make("td", { tabindex: -1, class: this.inside(index) ? false : "pad" });
    cell.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.events.point(index));
    cell.addEventListener("pointerleave", () => this.events.point(null));
    cell.addEventListener("focus", () => this.rove(index));
    cell.addEventListener("blur", () => this.events.point(null));
    cell.addEventListener("pointerdown", (event) => this.drag(event, index));
    cell.addEventListener("dblclick", () => this.type(index, ""));
    cell.addEventListener("keydown", (event) => this.press(event, index));
    this.cells.push(cell);
    return cell;
  }

  /** Plane, row and column of a cell, without padding. @param {number} index */
  at(index) {
    const { pad } = this.data;
    const width = this.width, height = this.height;
    return [Math.floor(index / width / height), Math.floor(index / width) % height - pad[0], index % width - pad[1]];
  }

  /** @param {number} index */
  inside(index) {
    const { rows, columns } = this.data;
    const [, row, column] = this.at(index);
    return row >= 0 && row < rows && column >= 0 && column < columns;
  }

  /** Where a cell's number stands among those without padding. @param {number} index */
  inner(index) {
    const { rows, columns } = this.data;
    const [plane, row, column] = this.at(index);
    return (plane * rows + row) * columns + column;
  }

  /** The cell at a row and a column of a plane. @param {number} row @param {number} column */
  index(row, column, plane = 0) {
    const { pad } = this.data;
    return (plane * this.height + row + pad[0]) * this.width + column + pad[1];
  }

  /** As in code: x[0, 2, 3]. @param {number} index */
  name(index) {
    const data = this.data;
    const [plane, row, column] = this.at(index);
    const first = data.planes[plane][1].split(".").filter(Boolean);
    return `${data.name}[${[...first, row, column].join(", ")}]${this.inside(index) ? "" : " padding"}`;
  }

  /** @param {number} index */
  value(index) {
    return this.inside(index) ? this.data.values[this.inner(index)] : 0;
  }

  /**
   * Give cells a class each; all others lose theirs.
   * @param {Map<number, string>} marks
   */
  mark(marks) {
    for (const cell of this.marked) cell.classList.remove("on", "main", "many");
    this.marked.clear();
    for (const [index, kind] of marks) {
      this.cells[index]?.classList.add(kind);
      if (this.cells[index]) this.marked.add(this.cells[index]);
    }
  }

  /** Only one cell of a plane can be reached by Tab: the last that was. @param {number} index */
  rove(index) {
    const size = this.height * this.width;
    const start = index - index % size;
    for (let i = start; i < start + size; i++) this.cells[i].tabIndex = i === index ? 0 : -1;
    this.events.point(index);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} index
   */
  press(event, index) {
    if (event.target !== this.cells[index] || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.data.paint && this.events.paint?.(index, event.key)) return event.preventDefault();
    const width = this.width, column = index % width;
    /** @type {Record<string, number>} */
    const moves = {
      ArrowLeft: column ? -1 : 0, ArrowRight: column < width - 1 ? 1 : 0, ArrowUp: -width, ArrowDown: width,
      Home: -column, End: width - 1 - column,
    };
    if (event.key in moves) {
      const next = this.cells[index + moves[event.key]];
      if (next && next.closest("table") === this.cells[index].closest("table")) next.focus();
    } else if (event.key === " ") this.events.pin(index);
    else if (event.key === "Escape") this.events.free();
    else if (event.key === "Enter" || event.key === "F2") {
      if (this.editable && this.inside(index)) this.type(index, "");
      else this.events.pin(index);
    } else if (/^[-.\d]$/.test(event.key)) this.type(index, event.key);
    else return;
    event.preventDefault();
  }

  /**
   * Let a number be typed into a cell: Enter takes it, Escape leaves it.
   * @param {number} index
   * @param {string} begun
   */
  type(index, begun) {
    if (!this.editable || !this.inside(index)) return;
    const cell = this.cells[index];
    const input = make("input", {
      inputmode: "decimal", value: begun || String(this.value(index)), "aria-label": this.name(index),
    });
    let over = false;
    const end = (/** @type {boolean} */ take) => {
      if (over) return;
      over = true;
      const value = Number(input.value.replace("−", "-").replace(",", "."));
      const fine = take && input.value.trim() !== "" && Math.abs(value) <= 1e6;
      input.remove();
      cell.textContent = short(this.value(index));
      if (fine) this.edit(index, value);
    };
    input.addEventListener("blur", () => end(true));
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      end(event.key === "Enter");
      cell.focus();
    });
    cell.replaceChildren(input);
    input.focus();
    if (begun) input.setSelectionRange(begun.length, begun.length);
    else input.select();
  }

  /**
   * A press pins; dragged up and down, it changes the number.
   * @param {PointerEvent} event
   * @param {number} index
   */
  drag(event, index) {
    const cell = this.cells[index];
    if (event.button || event.target !== cell) return;
    if (this.data.paint && this.events.paint?.(index, null)) return this.stroke();
    const start = this.value(index) ?? 0, step = this.data.picture ? 0.05 : 0.5, y = event.clientY;
    let moved = false, last = start;
    const move = (/** @type {PointerEvent} */ now) => {
      if (!this.editable || !this.inside(index) || now.pointerType === "touch") return;
      const steps = Math.round((y - now.clientY) / PIXELS_A_STEP);
      moved ||= steps !== 0;
      const value = +(start + steps * step).toFixed(3);
      if (moved && value !== last) this.edit(index, last = value);
    };
    const up = (/** @type {PointerEvent} */ now) => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", up);
      document.removeEventListener("pointercancel", up);
      if (!moved && now.type === "pointerup" && now.target === cell) this.events.pin(index);
    };
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", up);
    document.addEventListener("pointercancel", up);
  }

  /** Paint what the pointer comes over until it is released. */
  stroke() {
    const move = (/** @type {PointerEvent} */ now) => {
      const index = this.cells.indexOf(/** @type {any} */ (document.elementFromPoint(now.clientX, now.clientY)));
      if (index >= 0) this.events.paint?.(index, null);
    };
    const up = () => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", up);
      document.removeEventListener("pointercancel", up);
    };
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", up);
    document.addEventListener("pointercancel", up);
  }

  /**
   * @param {number} index
   * @param {number} value
   */
  edit(index, value) {
    const [plane, row, column] = this.at(index);
    const start = this.data.planes[plane][1];
    this.events.edit(`${start}${row}.${column}`, value);
  }
}

/**
 * The setting of changed numbers with one more: `0.2.3:1.5,0.0.1:-2`.
 * @param {string | undefined} text
 * @param {string} place
 * @param {number} value
 */
function withEdit(text, place, value) {
  const edits = new Map((text || "").split(",").filter(Boolean).map((part) => {
    const [at, number] = part.split(":");
    return /** @type {[string, string]} */ ([at, number]);
  }));
  edits.set(place, String(+value.toPrecision(9)));
  return [...edits].map(([at, number]) => `${at}:${number}`).join(",");
}
