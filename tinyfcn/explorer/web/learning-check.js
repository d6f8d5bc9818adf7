"use strict";
// Backward beside the difference quotient: digit by digit for one ε, and the error's curve over all.

/** @typedef {{texts: string[], error: number, agree: number, kinks: Record<string, number[]>}} Nudge */
/** @typedef {{rows: Nudge[], backward: string}} Precision */
/** @typedef {{cell: string, epsilons: string[], decimals: Record<string, number>, results: Record<string, Precision>}} CheckData */

/** @type {Record<string, string>} */
const CURVE_TONES = { float32: "w", float64: "x" };
const HIGHEST = 2, LOWEST = -18; // powers of ten of the error that the curve shows; the last stands for 0

class LearningCheck {
  /** @param {(eps: string) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.slider = make("input", {
      type: "range", min: 0, name: "eps", "aria-label": "ε", oninput: () => choose(this.data.epsilons[Number(this.slider.value)]),
    });
    this.output = make("output");
    this.digits = make("div", { class: "digits" });
    this.kinks = make("p", { class: "note" });
    this.curve = make("div", { class: "curve" });
    this.curve.addEventListener("pointerdown", (event) => this.drag(event));
    this.title = make("h2");
    this.element = make("section", { class: "group" }, this.title,
      make("div", { class: "epsilon" }, make("span", {}, "ε"), this.slider, this.output), this.digits, this.kinks, this.curve);
    /** @type {CheckData} */
    this.data = { cell: "", epsilons: [], decimals: {}, results: {} };
    this.at = 0;
  }

  /** What there is for this ε in float64. */
  get row() {
    return this.data.results.float64.rows[this.at];
  }

  /** @param {CheckData} data @param {string} eps */
  show(data, eps) {
    this.data = data;
    this.at = Math.max(0, data.epsilons.indexOf(eps));
    this.slider.max = String(data.epsilons.length - 1);
    this.slider.value = String(this.at);
    this.output.textContent = eps = data.epsilons[this.at].replace("-", "−");
    this.slider.setAttribute("aria-valuetext", eps);
    this.title.textContent = `Check: ${data.cell} nudged by ε`;
    this.digits.replaceChildren(...Object.entries(data.results).map(([dtype, result]) => this.table(dtype, result)));
    const { y = [], p = [] } = this.row.kinks, many = (/** @type {number[]} */ all, /** @type {string} */ what) => `${all.length} ${what}${all.length === 1 ? "" : "s"}`;
    this.kinks.textContent = y.length + p.length
      ? `Between x − ε and x + ε ${many(y, "ReLU")} and ${many(p, "maximum").replace("maximums", "maxima")} change: the quotient mixes two slopes, and backward is not wrong.`
      : "No ReLU and no maximum changes between x − ε and x + ε.";
  }

  /** @param {string} dtype @param {Precision} result */
  table(dtype, result) {
    const { texts, agree } = result.rows[this.at], open = Math.max(0, this.data.decimals[dtype] - agree);
    const digits = (/** @type {string} */ text) => {
      const split = agree < 0 ? 0 : text.length - open - (agree === 0 ? 1 : 0);
      return make("td", {}, ...(split ? [make("mark", {}, text.slice(0, split))] : []), text.slice(split));
    };
    const row = (/** @type {string} */ name, /** @type {Node} */ cell) => make("tr", {}, make("th", { scope: "row" }, name), cell);
    return make("table", { class: `of-${CURVE_TONES[dtype]}`, "data-dtype": dtype },
      make("caption", {}, make("b", {}, dtype), agree < 0 ? " no digit agrees" : ` agrees to ${agree} decimal${agree === 1 ? "" : "s"}`),
      make("tbody", {}, row("f(x + ε)", make("td", {}, texts[0])), row("f(x − ε)", make("td", {}, texts[1])),
        row("quotient", digits(texts[2])), row("backward", digits(result.backward))));
  }

  /** The error of each ε, both axes in powers of ten. */
  plot() {
    const { data } = this, width = Math.max(280, Math.min(760, this.curve.clientWidth)), height = 260;
    const [left, right, top, bottom] = [50, 26, 12, 40], last = data.epsilons.length - 1;
    this.x = (/** @type {number} */ at) => left + (width - left - right) * at / last;
    const y = (/** @type {number} */ power) => top + (height - top - bottom) * (HIGHEST - power) / (HIGHEST - LOWEST);
    const power = (/** @type {number} */ error) => (error ? Math.max(LOWEST + 1, Math.min(HIGHEST, Math.log10(error))) : LOWEST);
    const text = (/** @type {string} */ words, /** @type {number} */ a, /** @type {number} */ b, anchor = "middle") =>
      draw("text", { x: a, y: b, "text-anchor": anchor }, words);
    const parts = [draw("line", { class: "now", x1: this.x(this.at), x2: this.x(this.at), y1: top, y2: height - bottom })];
    for (let p = 0; p >= LOWEST; p -= 4) {
      parts.push(draw("line", { x1: left, x2: width - right, y1: y(p), y2: y(p) }), text(p ? `1e−${-p}` : "1", left - 8, y(p) + 4, "end"));
    }
    parts.push(draw("line", { x1: left, x2: width - right, y1: y(LOWEST), y2: y(LOWEST) }), text("0", left - 8, y(LOWEST) + 4, "end"));
    const step = width < 500 ? 3 : 1;
    for (let at = 0; at <= last; at += step) parts.push(text(data.epsilons[at].replace("-", "−"), this.x(at), height - 20));
    parts.push(text("← kinks, curvature ε²", left, height - 3, "start"), text("rounding 1/ε →", width - right, height - 3, "end"));
    for (const [dtype, { rows }] of Object.entries(data.results)) {
      const points = rows.map(({ error }, at) => [this.x?.(at) || 0, y(power(error))]), tone = CURVE_TONES[dtype];
      parts.push(draw("polyline", { class: `of-${tone}`, points: points.join(" ") }));
      points.forEach(([a, b], at) => {
        const kinks = Object.values(rows[at].kinks).some((cells) => cells.length), size = at === this.at ? 6 : 4;
        const shape = dtype === "float64" ? draw("circle", { cx: a, cy: b, r: size }) : draw("rect", { x: a - size, y: b - size, width: 2 * size, height: 2 * size });
        shape.setAttribute("class", `of-${tone}${kinks ? " hollow" : ""}`);
        parts.push(shape);
      });
    }
    const label = Object.entries(data.results).map(([dtype, { rows }]) =>
      `${dtype}: least error ${short(Math.min(...rows.map((row) => row.error)), 2)}, at this ε ${short(rows[this.at].error, 2)}`).join("; ");
    this.curve.replaceChildren(
      make("p", { class: "legend" }, "|quotient − backward| over ε: ", make("b", { class: "name of-x" }, "● float64"), " ",
        make("b", { class: "name of-w" }, "■ float32"), "; hollow where a kink lies between"),
      draw("svg", { width, height, role: "img", "aria-label": `The error over ε. ${label}` }, ...parts));
  }

  /** Choose the ε under the pointer while it is pressed. @param {PointerEvent} event */
  drag(event) {
    const go = (/** @type {PointerEvent} */ now) => {
      const svg = this.curve.querySelector("svg"), place = now.clientX - (svg?.getBoundingClientRect().left || 0);
      const far = this.data.epsilons.map((_, at) => Math.abs((this.x?.(at) || 0) - place));
      const at = far.indexOf(Math.min(...far));
      if (at !== this.at) this.choose(this.data.epsilons[at]);
    };
    const end = () => {
      document.removeEventListener("pointermove", go);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
    };
    if (!(/** @type {Element} */ (event.target).closest("svg"))) return;
    go(event);
    document.addEventListener("pointermove", go);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
  }
}

/**
 * An element of SVG.
 * @param {string} tag
 * @param {Record<string, unknown>} attributes
 * @param {(Node | string)[]} children
 */
function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}
