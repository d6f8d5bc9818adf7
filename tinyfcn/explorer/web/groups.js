"use strict";
// Grids in groups, as grids.py gives them: whoever points at a cell sees what belongs to it.

/**
 * @typedef {GridData & {key: string, tone: string, narrow?: boolean, ids: number | (number | number[])[], looks?: string[], words?: string[]}} CellData
 */
/**
 * @typedef {object} Group
 * @property {string} title
 * @property {CellData[]} grids
 * @property {string} [code]
 * @property {string} [problem]
 * @property {string} [note]
 * @property {string[][]} [facts]
 * @property {Control[]} [controls]
 * @property {boolean} [beside] whether others may stand beside it
 */
/** @typedef {{grid: string, index: number}} Pointed */

class Groups {
  /**
   * @param {Page} page
   * @param {HTMLElement} main
   * @param {Record<string, string>} titles of the choices of the first control, which are tabs
   */
  constructor(page, main, titles) {
    this.page = page;
    this.titles = titles;
    /** @type {Pointed | null} */
    this.hover = null;
    /** @type {Map<string, Grid>} */
    this.grids = new Map();
    /** @type {Map<string, CellData>} what is shown */
    this.drawn = new Map();
    /** @type {{element: HTMLElement, title: HTMLElement, code: HTMLElement, problem: HTMLElement, note: HTMLElement, tensors: HTMLElement, facts: HTMLElement, controls: Controls}[]} */
    this.sections = [];
    this.controls = this.someControls();
    this.facts = make("div", { class: "formula", role: "group", "aria-label": "Results" });
    this.tabs = make("div", { class: "bar passes" });
    this.more = make("div", { class: "bar" });
    this.groups = make("div", { class: "groups" });
    this.said = make("div", { class: "sum said", role: "status" });
    this.code = new CodePanel((code) => page.look({ code }));
    main.replaceChildren(
      make("aside", { class: "card" }, this.controls.element, this.facts),
      make("div", { class: "stage card" }, this.tabs, this.more, this.groups, this.said), this.code.element);
  }

  someControls() {
    return new Controls((changes) => this.page.change(changes));
  }

  /** The grid of a key, made when it is asked for first. @param {string} key */
  grid(key) {
    const known = this.grids.get(key);
    if (known) return known;
    const made = this.page.grid(key, this.drawn.get(key)?.tone || "x", (index) => {
      this.hover = index === null ? null : { grid: key, index };
      this.highlight();
    }, { pin: (index) => this.pin(key, index), paint: (index, letter) => this.paint(made, index, letter) });
    this.grids.set(key, made);
    return made;
  }

  /** @param {string} setting @param {string} place @param {number} value */
  edit(setting, place, value) {
    this.page.change({ [setting]: withEdit(this.page.settings[setting], place, value) });
  }

  /** Hold on to a cell, or let it go. @param {string} key @param {number} index */
  pin(key, index) {
    const at = `${key}.${index}`;
    this.page.look({ at: this.page.looks.at === at ? "" : at });
  }

  /** Change a cell by a brush, or by a key; false if there is none. @param {Grid} grid @param {number} index @param {string | null} letter */
  paint(grid, index, letter) {
    return false;
  }

  /** The numbers of what a cell shows. @param {Pointed} place @returns {number[]} */
  ids({ grid, index }) {
    const ids = this.drawn.get(grid)?.ids ?? [];
    return typeof ids === "number" ? [ids + index] : [ids[index] ?? []].flat();
  }

  /** @param {any} answer */
  draw(answer) {
    const { page } = this, groups = /** @type {Group[]} */ (answer.groups), all = groups.flatMap((group) => group.grids);
    this.answer = answer;
    const [tabs, ...controls] = page.offered(answer.controls);
    this.controls.show(controls);
    this.facts.replaceChildren(...told(answer.facts));
    const edits = all.flatMap(({ edit }) => edit || []);
    refill(this.tabs,
      segments("Show", tabs.options.map(([text]) => [text, this.titles[text]]), tabs.options[tabs.at][0],
        (text) => page.choose(tabs, text)),
      ...(answer.actions || []).map((/** @type {[string, string, string, number, string]} */ [title, setting, place, value, at]) => make("button", {
        type: "button", "data-value": title, disabled: !answered(page.room, changed(page.settings, { [setting]: withEdit(page.settings[setting], place, value) })),
        onclick: () => { page.looks.at = at; this.edit(setting, place, value); },
      }, title)),
      ...page.undo(edits));
    this.arrange(groups, all);
    this.look();
    this.code.show(answer.code, page.looks.code);
    this.highlight();
  }

  /** Show the grids; they are put in place only where others are wanted, as the focus would be lost. @param {Group[]} groups @param {CellData[]} all */
  arrange(groups, all) {
    const order = (/** @type {Iterable<CellData>} */ some) => [...some].map(({ key }) => key).join(), before = order(this.drawn.values());
    this.drawn = new Map(all.map((data) => [data.key, data]));
    for (const data of all) {
      const { element } = this.grid(data.key);
      this.grid(data.key).show(data);
      element.classList.toggle("narrow", !!data.narrow);
      element.classList.toggle("vector", data.columns === 1);
    }
    if (order(all) !== before) {
      const focus = /** @type {HTMLElement} */ (document.activeElement);
      this.sections = groups.map(({ grids, beside }) => {
        const [title, code, problem, note, tensors, facts] = [make("h2"), make("code"), make("p", { class: "problem" }), make("p", { class: "note" }),
          make("div", { class: "tensors" }, ...grids.map(({ key }) => this.grid(key).element)), make("div", { class: "facts" })];
        const controls = this.someControls(), parts = [title, problem, tensors, code, note, controls.element, facts];
        return { element: make("section", { class: `group${beside ? " beside" : ""}` }, ...parts), title, code, problem, note, tensors, facts, controls };
      });
      this.groups.replaceChildren(...this.sections.map(({ element }) => element));
      if (focus.isConnected) focus.focus({ preventScroll: true });
    }
    groups.forEach((group, i) => {
      const section = this.sections[i];
      section.title.textContent = group.title;
      for (const name of /** @type {const} */ (["code", "problem", "note"])) {
        section[name].textContent = group[name] || "";
        section[name].hidden = !group[name];
      }
      section.facts.replaceChildren(...told(group.facts || []));
      section.controls.show(this.page.offered(group.controls || []));
    });
  }

  /** How cells look apart from being pointed at. */
  look() {
    for (const [key, { looks = [] }] of this.drawn) {
      this.grid(key).cells.forEach((cell, i) => {
        const look = cell.dataset.look = this.lookOf(key, i) || looks[i] || "";
        if (/^[a-z]/.test(look)) cell.setAttribute("aria-label", `${cell.getAttribute("aria-label")}, ${look}`);
      });
    }
  }

  /** How a cell looks otherwise than was answered. @param {string} key @param {number} index */
  lookOf(key, index) {
    return "";
  }

  /** What is pinned or pointed at. @returns {Pointed | null} */
  get active() {
    const [grid, index] = this.page.looks.at.split("."), pinned = { grid, index: Number(index) };
    return [pinned, this.hover].find((at) => at && this.drawn.has(at.grid) && this.grid(at.grid).cells[at.index]) || null;
  }

  highlight() {
    const { active, answer } = this;
    if (!answer) return;
    const shown = new Set((active ? this.ids(active) : []).flatMap((id) => [id, ...answer.near?.[id] || []]));
    for (const key of this.drawn.keys()) {
      const grid = this.grid(key);
      /** @type {Map<number, string>} */
      const marks = new Map();
      grid.cells.forEach((_, index) => { if (this.ids({ grid: key, index }).some((id) => shown.has(id))) marks.set(index, "on"); });
      if (active?.grid === key) marks.set(active.index, "main");
      grid.mark(marks);
      grid.element.classList.toggle("pinned", active?.grid === key && this.page.looks.at !== "");
    }
    this.said.replaceChildren(active ? this.words(active) : hint("see what belongs to it", this.hint));
  }

  hint = "";

  /** A cell, its number and what is to be said of it, in which names of cells have their colour. @param {Pointed} place */
  words(place) {
    const { grid, index } = place, made = this.grid(grid), [id] = this.ids(place);
    const tones = Object.fromEntries([...this.drawn.values()].map(({ name, tone }) => [name, tone]));
    const words = this.drawn.get(grid)?.words?.[index] || this.answer.words?.[id] || "", value = short(made.value(index));
    return make("p", {}, make("b", { class: `name of-${made.key}` }, made.name(index)), " = ",
      make("b", { class: "value" }, made.inside(index) ? value : made.data.outside || "0"), words.startsWith("=") ? " " : ". ",
      ...words.split(/(\b[a-z]+\[[^\]]+\])/).map((/** @type {string} */ part, /** @type {number} */ i) =>
        (i % 2 ? make("span", { class: `name of-${tones[part.split("[")[0]]}` }, part) : part)));
  }
}
