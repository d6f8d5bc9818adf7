"use strict";
// The learning room: grids whose cells bear the numbers of what they show, and a brush.

const BRUSHES = ["255", "0", "1", "2"];
/** @type {Record<string, string>} */
const PART_TITLES = { loss: "Loss and void", check: "Gradient check", norm: "Batch norm, ReLU" };

class Learning {
  /** @param {Page} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    /** @type {{grid: string, index: number} | null} */
    this.hover = null;
    /** @type {Map<string, Grid>} */
    this.grids = new Map();
    /** @type {Map<string, any>} what each grid shows */
    this.drawn = new Map();
    /** @type {string[]} settings of what can be changed */
    this.edits = [];
    /** @type {HTMLElement[]} */
    this.titles = [];
    this.order = "";
    this.controls = new Controls((changes) => page.change(changes));
    this.check = new LearningCheck((eps) => page.look({ eps }));
    this.facts = make("div", { class: "formula", role: "group", "aria-label": "Results" });
    this.parts = make("div", { class: "bar passes" });
    this.brush = make("div", { class: "bar" });
    this.groups = make("div", { class: "groups" });
    this.said = make("div", { class: "sum follow", role: "status" });
    this.code = new CodePanel((code) => page.look({ code }));
    main.replaceChildren(
      make("aside", { class: "card" }, this.controls.element, this.facts),
      make("div", { class: "stage card" }, this.parts, this.brush, this.groups, this.said),
      this.code.element);
  }

  /** The grid of a name, made when it is asked for first. @param {string} name @param {string} tone */
  grid(name, tone) {
    const known = this.grids.get(name);
    if (known) return known;
    const made = new Grid(tone, {
      point: (index) => this.point(index === null ? null : { grid: name, index }),
      pin: (index) => this.pin(name, index),
      free: () => { this.hover = null; this.page.look({ at: "" }); },
      edit: (place, value) => {
        const setting = made.data.edit || "";
        this.page.change({ [setting]: withEdit(this.page.settings[setting], place, value) });
      },
      paint: (index, key) => this.paint(made, index, key),
    });
    made.element.dataset.grid = name;
    this.grids.set(name, made);
    return made;
  }

  /** @param {{grid: string, index: number} | null} place */
  point(place) {
    this.hover = place;
    this.highlight();
  }

  /** Hold on to a cell, or choose it, where cells are chosen. @param {string} name @param {number} index */
  pin(name, index) {
    const [id] = this.ids(name, index), { choose } = this.answer, at = `${name}.${index}`;
    if (!choose) this.page.look({ at: this.page.looks.at === at ? "" : at });
    else if (id !== undefined) this.page.change({ cell: choose[id] });
  }

  /**
   * Paint a cell of the mask: with the brush, or with the label of a key.
   * @param {Grid} grid
   * @param {number} index
   * @param {string | null} key
   */
  paint(grid, index, key) {
    const { page } = this, { edit } = grid.data;
    const label = key === null || key === " " ? page.looks.brush : key === "v" ? "255" : key;
    if (!BRUSHES.includes(label)) return false;
    if (String(grid.value(index)) === label || !edit) return true;
    const [, row, column] = grid.at(index);
    const one = (/** @type {string | undefined} */ before) => ({ [edit]: withEdit(before, `${row}.${column}`, Number(label)) });
    const all = one(page.settings[edit]);
    page.change(answered(page.room, changed(page.settings, all)) ? all : one("")); // recorded: one at a time
    return true;
  }

  /** What a cell shows. @param {string} name @param {number} index @returns {number[]} */
  ids(name, index) {
    return this.drawn.get(name)?.ids[index] || [];
  }

  /** @param {any} answer */
  draw(answer) {
    const { page } = this, part = /** @type {string} */ (answer.part);
    if (answer !== this.answer) {
      this.drawn = new Map(answer.groups.flatMap((/** @type {any} */ group) => group[1]).map((/** @type {any} */ data) => [`${part}-${data.name}`, data]));
      this.edits = [...this.drawn.values()].flatMap((data) => data.edit || []);
    }
    this.answer = answer;
    const [parts, ...controls] = page.offered(answer.controls);
    this.controls.show(controls);
    refill(this.parts,
      segments("Part", parts.options.map(([text]) => [text, PART_TITLES[text]]), part,
        (text) => page.change({ part: text === "loss" ? null : text })),
      ...(this.edits.some((name) => page.settings[name]) ? [make("button", {
        type: "button", "data-value": "reset", onclick: () => page.change(Object.fromEntries(this.edits.map((name) => [name, null]))),
      }, "Undo changes")] : []));
    this.brush.hidden = part !== "loss";
    refill(this.brush, make("span", {}, "Brush for the mask"), segments("Brush", [["255", "255 void"], ["0", "0"], ["1", "1"], ["2", "2"], ["look", "only look"]],
      page.looks.brush, (brush) => page.look({ brush })));
    this.arrange(part);
    this.facts.replaceChildren(...answer.facts.map((/** @type {[string, string]} */ [name, fact]) =>
      make("p", {}, make("span", {}, name), make("strong", {}, fact))));
    if (answer.check) this.check.show(answer.check, page.looks.eps);
    this.look();
    this.code.show(answer.code, page.looks.code);
    this.highlight();
  }

  /** Show the grids; they are put in place only where others are wanted, as the focus would be lost. @param {string} part */
  arrange(part) {
    const groups = /** @type {[string, any[]][]} */ (this.answer.groups);
    for (const [name, data] of this.drawn) {
      this.grid(name, data.tone).show(data);
      this.grid(name, "").element.classList.toggle("narrow", data.narrow);
      this.grid(name, "").element.classList.toggle("vector", data.columns === 1);
    }
    const order = [...this.drawn.keys()].join();
    if (order !== this.order) {
      this.titles = groups.map(() => make("h2"));
      const sections = groups.map(([, all], i) => make("section", { class: "group" }, this.titles[i],
        make("div", { class: "tensors" }, ...all.map((data) => this.grid(`${part}-${data.name}`, "").element))));
      if (this.answer.check) sections.splice(1, 0, this.check.element);
      this.groups.replaceChildren(...sections);
    }
    this.order = order;
    groups.forEach(([title], i) => { this.titles[i].textContent = title; });
  }

  /** How cells look apart from being pointed at. */
  look() {
    const kinks = this.answer.check ? this.check.row.kinks : {};
    for (const [name, data] of this.drawn) {
      const bent = new Set(kinks[data.name]);
      this.grid(name, "").cells.forEach((cell, i) => { cell.dataset.look = bent.has(i) ? "kink" : data.looks[i] || ""; });
    }
  }

  /** What is pinned or pointed at. */
  get active() {
    const [grid, index] = this.page.looks.at.split(".");
    return this.drawn.has(grid) && this.grids.get(grid)?.cells[Number(index)] ? { grid, index: Number(index) } : this.hover;
  }

  highlight() {
    if (!this.answer) return;
    const active = this.active, shown = new Set(active ? this.ids(active.grid, active.index) : []);
    for (const [name, data] of this.drawn) {
      /** @type {Map<number, string>} */
      const marks = new Map();
      data.ids.forEach((/** @type {number[]} */ ids, /** @type {number} */ i) => { if (ids.some((id) => shown.has(id))) marks.set(i, "on"); });
      if (active?.grid === name) marks.set(active.index, "main");
      this.grid(name, "").mark(marks);
      this.grid(name, "").element.classList.toggle("pinned", active?.grid === name && this.page.looks.at !== "");
    }
    this.said.replaceChildren(active ? this.words(active) : make("p", { class: "hint" },
      "Point at a cell to see what belongs to it; press it to hold on, Escape lets go. ",
      this.answer.part === "loss" ? "Drag over the mask to paint; by keys: 0, 1, 2, V for void, Space for the brush. " : "",
      RECORDED ? "In tinyfcn explore, numbers can be changed." : "Type into a cell with a dotted line, or drag it up and down."));
  }

  /** @param {{grid: string, index: number}} active */
  words({ grid, index }) {
    const made = this.grid(grid, ""), data = this.drawn.get(grid), [id] = this.ids(grid, index);
    return make("p", {}, make("b", { class: `name of-${made.key}` }, made.name(index)), " = ",
      make("b", { class: "value" }, short(made.value(index))), ". ", data.words[index] || this.answer.words[id] || "");
  }
}

ROOMS.learning = {
  title: "Learning",
  looks: {
    at: ["", /^(loss|norm)-[^.]+\.\d+$/], brush: ["255", /^(0|1|2|look)$/], eps: ["1e-6", /^1e-\d\d?$/],
    code: ["", /^\w+$/],
  },
  build(page, main) {
    const room = new Learning(page, main);
    return (answer) => room.draw(answer);
  },
};
