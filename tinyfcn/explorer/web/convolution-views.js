"use strict";
// The same convolution as a matrix, as columns, by counts, and Winograd's way.

/** @typedef {[string, string, number[][][]]} Table label, the grid whose colour it has, planes */

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
    this.facts = make("dl", { class: "facts" });
    this.body = make("div", { class: "sheets" });
    this.element = make("section", { class: "views card", "aria-label": "Other views" }, this.tabs, this.note, this.body);
    /** @type {Sheet[]} */
    this.sheets = [];
    this.tile = -1; // that is drawn
  }

  /**
   * @param {any} answer
   * @param {(triple: number, key: string) => string} text the number of a triple's cell
   */
  show(answer, text) {
    const { page } = this, views = /** @type {any[]} */ (answer.views);
    const view = views.find((each) => each.name === page.looks.view) || views[0];
    refill(this.tabs, segments("View", views.map((each) => [each.name, each.title]), view.name, (name) => page.look({ view: name })));
    this.note.textContent = view.note;
    this.facts.replaceChildren(...(view.facts || []).map((/** @type {[string, string]} */ [name, fact]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, fact))));
    this.answer = answer;
    this.view = view;
    this.tile = -1;
    const sheets = /** @type {SheetData[]} */ (view.sheets || []);
    this.sheets = sheets.map((_, i) => this.sheets[i] || new Sheet((triple) => this.point(triple)));
    const lit = [...this.sheets.keys()].sort((a, b) => Number(sheets[b].lit) - Number(sheets[a].lit));
    this.body.replaceChildren(...lit.map((i) => this.sheets[i].element), ...(view.tables || []).map(numberTable), this.facts);
    this.sheets.forEach((sheet, i) => sheet.show(sheets[i], (triple) => text(triple, sheets[i].shows)));
  }

  /**
   * @param {Set<number>} triples
   * @param {Place | null} active
   */
  mark(triples, active) {
    for (const sheet of this.sheets) sheet.mark(triples);
    if (!this.view.tiles) return;
    const { columns, rows } = /** @type {GridData} */ (this.answer.grids.y);
    const index = active?.key === "y" ? active.index : 0, row = Math.floor(index / columns) % rows, column = index % columns;
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
