"use strict";
// The same convolution as a matrix, as columns, by counts, by tiles, and Winograd's way.

/** @typedef {[string, string, number[][][]]} Table label, the grid whose colour it has, planes */

const VIEWS = ["matrix", "im2col", "counts", "tiles", "winograd"];

class ConvolutionViews {
  /**
   * @param {Page} page
   * @param {(triple: number | null) => void} point
   */
  constructor(page, point) {
    this.page = page;
    this.point = point;
    this.tabs = make("div", { class: "bar" });
    this.note = make("p", { class: "note" });
    this.sizes = make("div", { class: "bar" });
    this.said = make("p", { role: "status" });
    this.facts = make("div", { class: "facts" });
    this.body = make("div", { class: "sheets" });
    this.element = make("section", { class: "views card", "aria-label": "Other views" }, this.tabs, this.note, this.sizes, this.said, this.body);
    /** @type {Sheet[]} */
    this.sheets = [];
    this.tile = -1; // that is drawn
  }

  /**
   * @param {any} answer
   * @param {(triple: number, key: string) => string} text the number of a triple's cell
   */
  show(answer, text) {
    const { page } = this, name = VIEWS.includes(page.looks.view) ? page.looks.view : VIEWS[0], view = answer[name];
    refill(this.tabs, segments("View", VIEWS.map((each) => [each, answer[each].title]), name, (view) => page.look({ view })));
    this.note.textContent = view.note;
    this.facts.replaceChildren(...told(view.facts));
    this.answer = answer;
    this.view = view;
    this.tile = -1;
    this.sizes.hidden = this.said.hidden = !view.sizes;
    /** @type {Table[]} */
    let tables = view.tables || [];
    if (view.sizes) {
      const sizes = Object.keys(view.sizes), size = sizes.includes(page.looks.tile) ? page.looks.tile : "2";
      refill(this.sizes, segments("Tile", sizes.map((m) => [m, m === "1" ? "one output" : `${m} × ${m} outputs`]), size, (tile) => page.look({ tile })));
      tables = [...new Set(["1", size])].map((m) => view.sizes[m].table);
      this.size = Number(size);
    }
    const sheets = /** @type {SheetData[]} */ (view.sheets || []);
    this.sheets = sheets.map((_, i) => this.sheets[i] || new Sheet((triple) => this.point(triple)));
    const lit = [...this.sheets.keys()].sort((a, b) => Number(sheets[b].lit) - Number(sheets[a].lit));
    this.body.replaceChildren(...lit.map((i) => this.sheets[i].element), ...tables.map(numberTable), this.facts);
    this.sheets.forEach((sheet, i) => sheet.show(sheets[i], (triple) => text(triple, sheets[i].shows)));
  }

  /** The outputs of the tile of one, if tiles are shown. @param {Place | null} active @returns {number[]} */
  together(active) {
    if (!active) return [];
    const { columns, rows } = /** @type {GridData} */ (this.answer.grids.y), { index } = active, m = this.size || 1;
    if (!this.view.sizes || active.key !== "y") return [index];
    const row = Math.floor(index / columns) % rows, column = index % columns, all = [];
    for (let i = row - row % m; i < Math.min(rows, row - row % m + m); i++) {
      for (let j = column - column % m; j < Math.min(columns, column - column % m + m); j++) all.push(index + (i - row) * columns + j - column);
    }
    return all;
  }

  /**
   * @param {Set<number>} triples
   * @param {Place | null} active
   */
  mark(triples, active) {
    for (const sheet of this.sheets) sheet.mark(triples);
    const { columns, rows } = /** @type {GridData} */ (this.answer.grids.y), m = this.size || 1;
    const index = active?.key === "y" ? active.index : 0, row = Math.floor(index / columns) % rows, column = index % columns;
    if (this.view.sizes) {
      this.said.textContent = active?.key === "y" ? this.view.sizes[m].words[Math.floor(row / m) * Math.ceil(columns / m) + Math.floor(column / m)] : "";
    }
    if (!this.view.tiles) return;
    const tile = index - (row % 2) * columns - column % 2;
    if (tile === this.tile) return;
    this.tile = tile;
    const [, tables] = this.view.tiles.find((/** @type {[number, Table[]]} */ [first]) => first === tile);
    const signs = ["→", "⊙", "=", "→"];
    this.body.replaceChildren(
      make("div", { class: "tile" }, ...tables.flatMap((/** @type {Table} */ table, /** @type {number} */ i) =>
        [...(i ? [make("span", { class: "sign", "aria-hidden": "true" }, signs[i - 1])] : []), numberTable(table)])),
      ...this.view.tables.map(numberTable));
  }
}

/** A table that is only read. @param {Table} table */
function numberTable([label, kind, planes]) {
  return make("figure", { class: `tensor of-${kind}` }, make("figcaption", {}, label), make("div", { class: "planes small" },
    ...planes.map((rows) => make("table", {}, make("tbody", {},
      ...rows.map((row) => make("tr", {}, ...row.map((value) => make("td", {}, short(value))))))))));
}
