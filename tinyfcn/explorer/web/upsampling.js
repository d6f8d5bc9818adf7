"use strict";
// The upsampling room: max pooling, and five ways from the pooled map back to a larger one.

/** @typedef {{grid: string, index: number}} Pointed grid "x", "y", "indices", "NAME" or "NAME-back" of a way, or "map-NAME" */

/** Which colour a grid has.
 * @type {[RegExp, string][]} */
const TONES = [[/^kernel$/, "w"], [/^(indices|map-count)$/, "i"], [/^y$|-/, "y"]];

class Upsampling {
  /** @param {Page} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    /** @type {Pointed | null} */
    this.hover = null;
    /** @type {Map<string, Grid>} */
    this.grids = new Map();
    this.controls = new Controls((changes) => page.change(changes));
    this.formula = make("div", { class: "formula" });
    this.passes = make("div", { class: "bar passes" });
    this.equation = make("h2");
    this.tensors = make("div", { class: "tensors" });
    this.arrow = make("span", { class: "sign", "aria-hidden": "true" }, "→");
    this.said = make("div", { class: "sum said", role: "status", tabindex: 0, "aria-label": "What is pointed at" });
    this.ways = make("div", { class: "ways" });
    this.bar = make("div", { class: "bar" });
    this.even = make("p", { class: "note" });
    this.maps = make("div", { class: "ways" });
    this.facts = make("dl", { class: "facts" });
    this.code = new CodePanel((code) => page.look({ code }));
    main.replaceChildren(
      make("aside", { class: "card" }, this.controls.element, this.formula),
      make("div", { class: "stage card" }, this.passes, this.equation, this.tensors),
      make("div", { class: "card sticky" }, this.said),
      make("section", { class: "views card", "aria-label": "Ways back" }, this.ways),
      make("section", { class: "views card", "aria-label": "Overlap" }, this.bar, this.even, this.maps, this.facts),
      this.code.element);
  }

  /**
   * A grid, made when it is needed first.
   * @param {string} name
   */
  grid(name) {
    const { page } = this;
    const known = this.grids.get(name);
    if (known) return known;
    const made = new Grid(TONES.find(([names]) => names.test(name))?.[1] || "x", {
      point: (index) => { this.hover = index === null ? null : { grid: name, index }; this.highlight(); },
      pin: (index) => page.look({ at: page.looks.at === `${name}.${index}` ? "" : `${name}.${index}` }),
      free: () => { this.hover = null; page.look({ at: "" }); },
      edit: (place, value) => {
        const setting = made.data.edit || "";
        page.change({ [setting]: withEdit(page.settings[setting], place, value) });
      },
    });
    made.element.dataset.grid = name;
    this.grids.set(name, made);
    return made;
  }

  /**
   * @param {string} name
   * @param {GridData} data
   * @param {boolean} [shaded]
   */
  show(name, data, shaded = false) {
    const grid = this.grid(name);
    const shade = shaded ? Math.max(...data.values.map((value) => Math.abs(value ?? 0))) : 0;
    grid.show({ ...data, shade });
    return grid.element;
  }

  /** @param {any} answer */
  draw(answer) {
    if (answer !== this.answer) this.take(answer);
    const { page } = this, backward = answer.pass === "gradient";
    const named = new Map(page.offered(answer.controls).map((control) => [control.name, control]));
    const pass = /** @type {Control} */ (named.get("pass"));
    named.delete("pass");
    this.controls.show([...named.values()]);
    this.formula.replaceChildren(make("p", {}, make("span", {}, answer.formulas.rule)),
      ...answer.formulas.axes.map((/** @type {[string, string[], string]} */ [name, lines, result]) => make("p", {},
        make("b", {}, name), ...lines.map((line) => make("span", {}, line)), make("strong", {}, result))));
    const called = (/** @type {string} */ tone, /** @type {string} */ name) => make("b", { class: `name of-${tone}` }, name);
    this.equation.replaceChildren(...(backward
      ? [called("x", "gx"), " = max_unpool2d(", called("y", "gy"), ", indices)", make("small", {}, "the gradient of max pooling goes to the winners")]
      : [called("y", "y"), ", indices = max_pool2d(", called("x", "x"), ")", make("small", {}, "winners have a ring")]));
    this.show("x", answer.x);
    this.show("y", answer.y);
    this.show("indices", answer.indices);
    this.buttons(answer, pass);
    const [x, y, indices] = ["x", "y", "indices"].map((name) => this.grid(name).element);
    keep(this.tensors, backward ? [y, indices, this.arrow, x] : [x, this.arrow, y, indices]);
    keep(this.ways, answer.ways.map((/** @type {any} */ way) => this.way(way, backward)));
    this.drawOverlap(answer, named);
    this.code.show(answer.code, page.looks.code);
    this.look(answer);
    this.highlight();
  }

  /** @param {any} answer @param {Control} pass */
  buttons(answer, pass) {
    const { page } = this;
    const cell = this.pooled(page.looks.at) ?? 0, x = this.grid("x");
    const other = answer.windows[cell].findLast((/** @type {number} */ at) => x.inside(at) && !answer.equals[cell].includes(at));
    /** @type {Record<string, string>} */
    const made = other === undefined ? {} : { x: withEdit(page.settings.x, x.at(other).slice(1).join("."), answer.pooled[cell]) };
    const edited = ["x", "weight", "gy", "gu"].some((name) => page.settings[name]);
    refill(this.passes,
      segments("Pass", pass.options.map(([text]) => [text, text === "forward" ? "Forward \nx → y → u" : "Gradient \ngu → gy → gx"]),
        answer.pass, (text) => page.change(pass.options.find(([each]) => each === text)?.[1] || {})),
      ...(answer.pass === "forward" ? [make("button", {
        type: "button", "data-value": "tie", disabled: other === undefined || !answered(page.room, changed(page.settings, made)),
        onclick: () => { page.looks.at = `y.${cell}`; page.change(made); },
      }, "Make a tie")] : []),
      ...(edited ? [make("button", {
        type: "button", "data-value": "reset", onclick: () => page.change({ x: null, weight: null, gy: null, gu: null }),
      }, "Undo changed numbers")] : []));
  }

  /**
   * One way: its grid, its line of code, and what it does.
   * @param {any} way
   * @param {boolean} backward
   */
  way(way, backward) {
    const { name } = way;
    const made = () => ({
      element: make("section", { class: "way", "data-way": name }), failed: make("p", { class: "failed" }),
      pair: make("div", { class: "pair" }), code: make("code"), note: make("p", { class: "note" }),
    });
    const card = this.cards[name] ||= made(), { element, failed, pair, code, note } = card;
    if (!pair.isConnected) element.append(make("h3", {}, make("b", {}, way.title)), failed, pair, code, note);
    failed.textContent = way.problem;
    failed.hidden = !way.problem;
    const grids = [];
    if (way.grid) grids.push(this.show(name, way.grid, !backward));
    if (way.back) grids.push(this.show(`${name}-back`, way.back, true));
    if (name === "transposed") grids.push(this.show("kernel", this.answer.kernel, true));
    keep(pair, grids);
    code.textContent = way.call;
    note.textContent = way.note;
    return element;
  }

  /** @type {Record<string, Record<string, HTMLElement>>} */
  cards = {};

  /** @param {any} answer @param {Map<string, Control>} named */
  drawOverlap(answer, named) {
    const { page } = this, { grids, facts, note } = answer.overlap;
    const [tall, wide] = ["th", "tw"].map((name) => /** @type {Control} */ (named.get(name)));
    const both = tall.options.filter(([text]) => wide.options.some(([other]) => other === text)).map(([text]) => text);
    const at = tall.options[tall.at][0], square = at === wide.options[wide.at][0];
    const change = (/** @type {string} */ text) => Object.assign({}, ...[tall, wide].map((control) => control.options.find(([each]) => each === text)?.[1]));
    const kernels = both.filter((text) => answered(page.room, changed(page.settings, change(text))));
    keep(this.maps, ["count", "bilinear", "random"].map((name) => this.show(`map-${name}`, grids[name], true)));
    refill(this.bar, make("h2", {}, "Overlap of the transposed convolution"),
      make("small", {}, "kernel"), segments("Kernel of the transposed convolution", kernels.map((text) => [`k${text}`, text]), square ? `k${at}` : "",
        (text) => page.change(change(text.slice(1)))));
    this.even.textContent = note;
    this.facts.replaceChildren(...facts.map((/** @type {[string, string]} */ [name, fact]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, fact))));
  }

  /** Sort the links of each way. @param {any} answer */
  take(answer) {
    this.answer = answer;
    /** @type {Map<string, {of: Map<number, [number, number][]>, from: Map<number, [number, number][]>}>} */
    this.links = new Map();
    for (const { name, links: [cells = [], places = [], weights = []] } of answer.ways) {
      const of = new Map(), from = new Map();
      cells.forEach((/** @type {number} */ cell, /** @type {number} */ i) => {
        of.set(cell, [...of.get(cell) || [], [places[i], weights[i]]]);
        from.set(places[i], [...from.get(places[i]) || [], [cell, weights[i]]]);
      });
      this.links.set(name, { of, from });
    }
  }

  /** Classes that stay: winners, and what nothing reaches. @param {any} answer */
  look(answer) {
    const winners = new Set(answer.winners), seen = new Set(answer.windows.flat());
    this.grids.get("x")?.cells.forEach((cell, index) => {
      cell.classList.toggle("winner", winners.has(index));
      cell.classList.toggle("unseen", !seen.has(index));
      if (winners.has(index)) cell.setAttribute("aria-label", `${cell.getAttribute("aria-label")}, a winner`);
    });
    for (const [name, { from }] of this.links || []) {
      this.grids.get(name)?.cells.forEach((cell, index) => cell.classList.toggle("unseen", !from.has(index)));
    }
  }

  /** The pooled cell of a place, if it is one. @param {string} at */
  pooled(at) {
    const [grid, index] = at.split(".");
    return /^(y|indices)$|-back$/.test(grid) && Number(index) < this.answer.winners.length ? Number(index) : null;
  }

  /** What is pinned or pointed at, if it is there. @returns {Pointed | null} */
  get active() {
    const [grid, index] = this.page.looks.at.split(".");
    const places = [{ grid, index: Number(index) }, ...(this.hover ? [this.hover] : [])];
    return places.find((place) => {
      const there = this.grids.get(place.grid);
      return there?.element.isConnected && there.cells[place.index];
    }) || null;
  }

  highlight() {
    const { answer, links } = this;
    if (!answer || !links) return;
    const active = this.active;
    /** @type {Map<string, Map<number, string>>} */
    const marks = new Map([...this.grids.keys()].map((name) => [name, new Map()]));
    const mark = (/** @type {string} */ name, /** @type {number} */ index, kind = "on") => marks.get(name)?.set(index, kind);
    const cell = active && this.pooled(`${active.grid}.${active.index}`);
    const way = active?.grid.replace(/^map-.*/, "transposed") || "";
    /** @param {number} p @param {string} kind */
    const pool = (p, kind) => {
      for (const name of marks.keys()) if (this.pooled(`${name}.${p}`) !== null) mark(name, p, kind);
    };
    if (active && cell !== null) {
      for (const index of answer.windows[cell]) mark("x", index);
      mark("x", answer.winners[cell], "main");
      for (const [name, { of }] of links) for (const [place] of of.get(cell) || []) mark(name, place);
      for (const name of ["count", "bilinear", "random"]) for (const [place] of links.get("transposed")?.of.get(cell) || []) mark(`map-${name}`, place);
      pool(cell, "main");
    } else if (active?.grid === "x") {
      answer.windows.forEach((/** @type {number[]} */ cells, /** @type {number} */ p) => {
        if (cells.includes(active.index)) pool(p, answer.winners[p] === active.index ? "main" : "on");
      });
      mark("x", active.index, "main");
    } else if (active && links.has(way)) {
      for (const [p] of links.get(way)?.from.get(active.index) || []) {
        pool(p, "on");
        mark("x", answer.winners[p]);
      }
      for (const name of way === "transposed" ? [way, "map-count", "map-bilinear", "map-random"] : [way]) mark(name, active.index, "main");
    }
    for (const [name, grid] of this.grids) {
      grid.mark(marks.get(name) || new Map());
      grid.element.classList.toggle("pinned", active?.grid === name && this.page.looks.at !== "");
    }
    this.said.replaceChildren(...(active ? this.words(active, cell, way) : [make("p", { class: "hint" },
      "Point at a cell to follow it through all grids; press it to hold on, Escape lets go. ",
      RECORDED ? "In tinyfcn explore, numbers can be changed." : "Type into a cell with a dotted line, or drag it up and down.")]));
  }

  /**
   * @param {Pointed} active
   * @param {number | null} cell
   * @param {string} way
   */
  words(active, cell, way) {
    const { answer } = this, { index } = active, grid = this.grid(active.grid), backward = answer.pass === "gradient";
    const x = this.grid("x"), y = this.grid("y");
    const coloured = (/** @type {Grid} */ of, /** @type {number} */ at) => make("span", { class: `name of-${of.key}` }, of.name(at));
    const head = make("p", {}, make("b", { class: `name of-${grid.key}` }, grid.name(index)), " = ",
      make("b", { class: "value" }, grid.inside(index) ? short(grid.value(index)) : grid.data.outside || "0"));
    if (active.grid === "x") {
      const windows = answer.windows.flatMap((/** @type {number[]} */ cells, /** @type {number} */ p) => (cells.includes(index) ? [p] : []));
      const won = windows.filter((/** @type {number} */ p) => answer.winners[p] === index);
      head.append(grid.inside(index) ? "" : ": padding, which never wins", ". ",
        windows.length ? `In ${windows.length} window${windows.length > 1 ? "s" : ""}` : "No window reaches it",
        ...(won.length ? [", wins ", ...list(won.map((/** @type {number} */ p) => coloured(y, p)))] : windows.length ? [", wins none" + (backward ? ", so no gradient comes" : "")] : []), ".");
      return [head];
    }
    if (cell !== null) return this.ofPooled(cell, grid, head, coloured);
    const from = this.links?.get(way)?.from.get(index) || [];
    if (active.grid === "kernel") head.append(": a weight of the transposed convolution, the same for every cell.");
    else if (active.grid.startsWith("map-")) head.append(`: of ${from.length} pooled cell${from.length === 1 ? "" : "s"}.`);
    else if (backward) head.append(from.length ? " is passed back to " : " is passed back to no cell.", ...list(from.map(([p, weight]) => make("span", {}, coloured(y, p), weight === 1 ? "" : ` · ${short(weight)}`))));
    else head.append(from.length ? " = " : ": nothing reaches it.", ...list(from.map(([p, weight]) => make("span", { class: "product" },
      coloured(y, p), weight === 1 ? "" : ` · ${short(weight)}`)), " + "));
    return [head];
  }

  /**
   * @param {number} cell
   * @param {Grid} grid
   * @param {HTMLElement} head
   * @param {(of: Grid, at: number) => HTMLElement} coloured
   */
  ofPooled(cell, grid, head, coloured) {
    const { answer } = this, x = this.grid("x"), backward = answer.pass === "gradient";
    const winner = answer.winners[cell], equal = answer.equals[cell].filter((/** @type {number} */ at) => at !== winner);
    const way = grid.element.dataset.grid?.replace("-back", "") || "";
    if (backward && this.links?.has(way)) {
      const of = this.links.get(way)?.of.get(cell) || [], large = this.grid(way);
      head.append(of.length ? " = " : ": nothing comes back.", ...list(of.map(([place, weight]) => make("span", { class: "product" },
        coloured(large, place), weight === 1 ? "" : ` · ${short(weight)}`)), " + "));
      return [head];
    }
    if (backward) head.append(" goes to ", coloured(x, winner), ", which won; the others of the window get nothing.");
    else head.append(": ", coloured(x, winner), ` is the largest of its window, index ${answer.indices.values[cell]}.`);
    if (equal.length) {
      head.append(make("strong", {}, ` A tie: ${equal.length + 1} are as large, and the first in reading order wins`), ", not ",
        ...list(equal.map((/** @type {number} */ at) => coloured(x, at))), ".");
    }
    const put = (/** @type {any} */ each) => {
      const places = this.links?.get(each.name)?.of.get(cell) || [], large = this.grid(each.name);
      return make("span", { class: "put" }, `${each.title}: `, ...(places.length === 1 ? [coloured(large, places[0][0])]
        : [each.problem ? "fails" : `${places.length} cells`]));
    };
    return [head, make("p", { class: "puts" }, ...answer.ways.map(put))];
  }
}

/** Elements with something between them. @param {Node[]} elements @param {string} between @returns {(Node | string)[]} */
function list(elements, between = ", ") {
  return elements.flatMap((each, i) => (i ? [between, each] : [each]));
}

/**
 * Put children into an element; what has the focus keeps it.
 * @param {HTMLElement} element
 * @param {Node[]} children
 */
function keep(element, children) {
  if (element.childNodes.length === children.length && children.every((child, i) => child === element.childNodes[i])) return;
  const focus = /** @type {HTMLElement} */ (document.activeElement), inside = element.contains(focus);
  element.replaceChildren(...children);
  if (inside && focus.isConnected) focus.focus({ preventScroll: true });
}

ROOMS.upsampling = {
  title: "Upsampling",
  looks: { at: ["", /^(map-)?[a-z]+(-back)?\.\d+$/], code: ["", /^\w+$/] },
  build(page, main) {
    const room = new Upsampling(page, main);
    return (answer) => room.draw(answer);
  },
};
