"use strict";
// The convolution room: three grids, and the triples of cells that are multiplied with each other.

/** @typedef {"x" | "w" | "y"} Key */
/** @typedef {{key: Key, index: number}} Place */

/** @type {Key[]} */
const KEYS = ["x", "w", "y"];

class Convolution {
  /** @param {Page} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    /** @type {Place | null} */
    this.hover = null;
    this.controls = new Controls((changes) => page.change(changes));
    this.steps = new Steps((step) => page.look({ step: String(step), at: "" }), (speed) => page.look({ speed }));
    /** @type {Record<Key, Grid>} */
    this.grids = { x: this.grid("x"), w: this.grid("w"), y: this.grid("y") };
    this.views = new ConvolutionViews(page, (triple) => this.pointAt(triple));
    this.passes = make("div", { class: "bar passes" });
    this.formula = make("div", { class: "formula" });
    this.equation = make("h2");
    this.sum = make("div", { class: "sum", role: "status" });
    this.paint = make("span");
    this.code = new CodePanel((code) => page.look({ code }));
    this.tensors = make("div", { class: "tensors" });
    this.times = make("span", { class: "sign", "aria-hidden": "true" }, "∗");
    this.equals = make("span", { class: "sign", "aria-hidden": "true" }, "=");
    main.replaceChildren(
      make("aside", { class: "card" }, this.controls.element, this.formula),
      make("div", { class: "stage card" }, this.passes, this.equation, this.tensors, this.sum,
        make("div", { class: "bar" }, this.paint, this.steps.element)),
      this.views.element,
      this.code.element);
  }

  /** @param {Key} key */
  grid(key) {
    return this.page.grid(key, key, (index) => this.point(index === null ? null : { key, index }),
      { free: () => { this.hover = null; this.page.look({ at: "", step: "" }); } });
  }

  /** @param {Place | null} place */
  point(place) {
    this.hover = place;
    this.highlight();
  }

  /** @param {number | null} triple */
  pointAt(triple) {
    if (triple === null) return this.point(null);
    this.hover = null;
    this.highlight(new Set([triple]));
  }

  /** @param {any} answer */
  draw(answer) {
    if (answer !== this.answer) this.take(answer);
    this.answer = answer;
    const { page } = this, into = /** @type {Key} */ (answer.into);
    for (const key of KEYS) {
      this.grids[key].show(answer.grids[key]);
      this.grids[key].cells.forEach((cell, index) => cell.classList.toggle("unseen", !this.by?.[key].has(index)));
    }
    const [pass, swap, ...controls] = page.offered(answer.controls);
    this.controls.show(controls);
    const transposed = swap.options[swap.at][0] === "yes";
    const titles = { y: "Forward", x: "Input gradient", w: "Weight gradient" };
    if (transposed) [titles.x, titles.y] = [titles.y, titles.x];
    const ways = transposed ? { y: "gy → gx", x: "x → y", w: "x, gy → gw" } : { y: "x → y", x: "gy → gx", w: "x, gy → gw" };
    refill(this.passes,
      segments("Pass", pass.options.map(([text]) =>
        [text, `${titles[/** @type {Key} */ (text)]} \n${ways[/** @type {Key} */ (text)]}`]), into, (text) => page.choose(pass, text)),
      make("button", {
        type: "button", class: "swap", "data-value": "swap", "aria-pressed": transposed, disabled: swap.options.length < 2,
        onclick: () => page.choose(swap, transposed ? "no" : "yes"),
      }, "⇄ Swap passes"),
      ...page.undo(["x", "weight", "gy"]));
    const order = KEYS.filter((key) => key !== into).sort((a, b) => Number(a === "w") - Number(b === "w"));
    const [first, second, result] = [...order, into].map((key) => this.grids[key].element);
    keep(this.tensors, [first, this.times, second, this.equals, result]);
    const called = (/** @type {Key} */ key) => make("b", { class: `name of-${key}` }, answer.grids[key].name);
    const op = { y: "conv2d", x: "conv_transpose2d", w: "conv2d_weight_grad" }[into];
    this.equation.replaceChildren(called(into), ` = ${op}(`, called(order[0]), ", ", called(order[1]), ")",
      make("small", {}, `${titles[into].toLowerCase()} of ${transposed ? "a transposed convolution" : "a convolution"}`));
    this.formula.replaceChildren(...told(answer.facts));
    refill(this.paint, segments("Painted from", [["gather", "Gather"], ["scatter", "Scatter"]], page.looks.paint,
      (paint) => page.look({ paint, step: page.looks.step || "0" })));
    this.code.show(answer.code, page.looks.code);
    this.views.show(answer, (triple, key) => {
      const grid = this.grids[/** @type {Key} */ (key)];
      return short(grid.value(this.of(triple, /** @type {Key} */ (key))));
    });
    this.stepped();
    this.highlight();
  }

  /** Sort the triples by the cells that they join. @param {any} answer */
  take(answer) {
    const flat = /** @type {number[]} */ (answer.triples), count = flat.length / 3;
    /** @type {Record<Key, Map<number, number[]>>} */
    this.by = { x: new Map(), w: new Map(), y: new Map() };
    for (let triple = 0; triple < count; triple++) {
      KEYS.forEach((key, i) => {
        const list = this.by?.[key].get(flat[3 * triple + i]);
        if (list) list.push(triple);
        else this.by?.[key].set(flat[3 * triple + i], [triple]);
      });
    }
  }

  /** The cell of a triple in a grid. @param {number} triple @param {Key} key */
  of(triple, key) {
    return /** @type {number} */ (this.answer.triples[3 * triple + KEYS.indexOf(key)]);
  }

  /** What is pinned, pointed at, or stepped to. @returns {Place | null} */
  get active() {
    const [key, index] = this.page.looks.at.split(".");
    if (KEYS.includes(/** @type {Key} */ (key)) && this.grids[/** @type {Key} */ (key)].cells[Number(index)]) {
      return { key: /** @type {Key} */ (key), index: Number(index) };
    }
    if (this.hover) return this.hover;
    if (this.page.looks.step === "") return null;
    const at = this.painted, grid = this.grids[at];
    const columns = grid.data.columns;
    return { key: at, index: grid.index(Math.floor(this.steps.at / columns), this.steps.at % columns) };
  }

  /** The grid that the steps walk through. @returns {Key} */
  get painted() {
    const into = /** @type {Key} */ (this.answer.into);
    return this.page.looks.paint === "gather" ? into : into === "y" ? "x" : "y";
  }

  /** Paint the result as far as the steps have come. */
  stepped() {
    const { answer, page } = this, into = /** @type {Key} */ (answer.into), grid = this.grids[into];
    const data = this.grids[this.painted].data, count = data.rows * data.columns;
    const step = page.looks.step === "" ? count - 1 : Number(page.looks.step);
    this.steps.show(count, step, page.looks.speed);
    const result = grid.data, plane = result.rows * result.columns;
    if (this.steps.at === count - 1) grid.numbers(result.values);
    else if (page.looks.paint === "scatter") grid.numbers(answer.partial[this.steps.at]);
    else grid.numbers(result.values.map((value, i) => (i % plane <= this.steps.at ? value : undefined)));
  }

  /** @param {Set<number>} [triples] those to show instead of the active cell's */
  highlight(triples) {
    if (!this.answer) return;
    const active = triples ? null : this.active, together = this.views.together(active);
    const shown = triples || new Set(together.flatMap((index) => (active && this.by?.[active.key].get(index)) || []));
    for (const key of KEYS) {
      /** @type {Map<number, string>} */
      const marks = new Map();
      for (const triple of shown) {
        const cell = this.of(triple, key);
        marks.set(cell, key === "x" && together.length > 1 && marks.has(cell) ? "many" : "on");
      }
      if (active?.key === key) marks.set(active.index, "main");
      this.grids[key].mark(marks);
      this.grids[key].element.classList.toggle("pinned", active?.key === key && this.page.looks.at !== "");
    }
    this.views.mark(shown, active);
    this.sum.replaceChildren(...(active ? this.written(active, this.by?.[active.key].get(active.index) || []) : [hint("see what it meets")]));
  }

  /**
   * The sum of an output, or what an input or a weight takes part in.
   * @param {Place} active
   * @param {number[]} triples
   */
  written(active, triples) {
    const { key, index } = active, into = /** @type {Key} */ (this.answer.into), grid = this.grids[key];
    const number = (/** @type {Key} */ of, /** @type {number} */ triple) => {
      const at = this.of(triple, of), text = short(this.grids[of].value(at));
      return make("span", { class: `term of-${of}${this.grids[of].inside(at) ? "" : " pad"}`, title: this.grids[of].name(at) },
        text.startsWith("−") ? `(${text})` : text);
    };
    const others = KEYS.filter((each) => each !== key);
    const head = make("p", {}, make("b", { class: `name of-${key}` }, grid.name(index)), " = ",
      make("b", { class: "value" }, short(grid.value(index))));
    if (!grid.inside(index)) head.append(key === into ? ": padding, cut off" : ": padding, always 0");
    if (key === into) {
      head.append(triples.length ? ` = the sum of ${triples.length} product${triples.length > 1 ? "s" : ""}` : ": nothing reaches it");
      return [head, make("p", { class: "terms", tabindex: 0, role: "group", "aria-label": "products" }, ...triples.flatMap((triple, i) =>
        [...(i ? [" + "] : []), make("span", { class: "product" }, number(others[0], triple), "·", number(others[1], triple))]))];
    }
    const other = others.find((each) => each !== into) || others[0];
    head.append(triples.length ? ` is used ${triples.length} time${triples.length > 1 ? "s" : ""}:` : ": no window reaches it");
    return [head, make("p", { class: "terms", tabindex: 0, role: "group", "aria-label": "products" }, ...triples.flatMap((triple, i) => [...(i ? [", "] : []),
      make("span", { class: "product" }, number(key, triple), "·", number(other, triple), " → ",
        make("span", { class: `of-${into}` }, this.grids[into].name(this.of(triple, into))))]))];
  }
}

ROOMS.convolution = {
  title: "Convolution",
  looks: {
    at: ["", /^[xwy]\.\d+$/], step: ["", /^\d+$/], paint: ["gather", /^scatter$/], speed: ["2", /^[0-4]$/],
    view: ["matrix", /^\w+$/], tile: ["2", /^[14]$/], code: ["", /^\w+$/],
  },
  build(page, main) {
    const room = new Convolution(page, main);
    return (answer) => room.draw(answer);
  },
};
