"use strict";
// Parts of the network room: one map with its numbers, and a classifier in two ways.

class NetworkMap {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.title = make("h3");
    this.picture = new Picture(256, undefined, (row, column) => this.point(row, column));
    this.number = make("p", { class: "number", role: "status" });
    this.output = make("output");
    this.channel = make("input", { type: "range", min: 0, name: "channel", "aria-label": "channel", oninput: () =>
      page.look({ at: `${page.looks.at.split(".")[0]}.${this.channel.value}` }) });
    this.element = make("div", { class: "one-map" }, this.title, this.picture.element,
      make("label", { class: "speed" }, "channel", this.channel, this.output), this.number);
    this.asked = "";
    /** @type {Float32Array} */
    this.numbers = new Float32Array();
  }

  /** @param {any} answer of all maps */
  async show(answer) {
    const { page } = this, [layer, channel] = page.looks.at.split("."), about = answer.layers[Number(layer)];
    this.element.hidden = !page.looks.at || !about || Number(channel) >= about.shape[0];
    if (this.element.hidden) return;
    const { image, values, row, column, "class": of } = page.settings;
    const picked = values === "score" ? { row, column, "class": of } : {};
    const settings = changed({}, { image: image || null, values: values || null, ...Object.fromEntries(
      Object.entries(picked).map(([name, value]) => [name, value || null])), layer, channel: channel === "0" ? null : channel });
    this.title.replaceChildren(make("b", {}, about.name), ` ${about.kind}`);
    this.channel.max = String(about.shape[0] - 1);
    this.channel.value = channel;
    this.channel.disabled = about.shape[0] < 2;
    this.output.textContent = channel;
    if (written(settings) === this.asked) return this.picture.draw();
    const asked = this.asked = written(settings);
    try {
      const found = answered(page.room, settings) ? await ask(page.room, settings) : null;
      if (asked !== this.asked) return;
      this.picture.canvas.hidden = !found;
      this.number.textContent = found ? "Point at a pixel for its number." : "The numbers of this map were not recorded; tinyfcn explore has them.";
      if (!found) return;
      const bytes = Uint8Array.from(atob(found.numbers), (letter) => letter.charCodeAt(0));
      this.numbers = new Float32Array(bytes.buffer);
      this.picture.show({ label: `${found.shape.join(" × ")}, ${found.range.map((/** @type {number} */ value) => short(value)).join(" … ")}`, sources: [found.png], size: found.shape, numbers: this.numbers });
      this.name = `${about.name}[${channel}`;
      this.element.dataset.shows = asked;
    } catch (error) {
      this.asked = "";
      page.problem(/** @type {Error} */ (error).message);
    }
  }

  /** @param {number} row @param {number} column */
  point(row, column) {
    const value = this.numbers[row * (this.picture.data?.size[1] || 1) + column];
    this.number.textContent = `${this.name}, ${row}, ${column}] = ${String(+value.toPrecision(6)).replace("-", "−")}`;
  }
}

class NetworkCrops {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.picture = new Picture(384);
    const grid = (/** @type {string} */ key) => new Grid(key, {
      point: (index) => index !== null && this.mark(index), pin: (index) => page.look({ cell: String(index) }),
      free: () => page.look({ cell: "14" }), edit: () => {},
    });
    this.whole = grid("y");
    this.apart = grid("x");
    this.facts = make("dl", { class: "facts" });
    this.choice = make("div", { class: "bar" });
    this.element = make("div", { class: "crops" }, this.picture.element,
      make("div", { class: "tables" }, this.choice, this.whole.element, this.apart.element), this.facts);
  }

  /** @param {any} answer */
  show(answer) {
    this.answer = answer;
    const names = answer.whole.map((/** @type {any} */ _, /** @type {number} */ i) => [String(i), String(i)]);
    const score = Number(this.page.looks.score) < names.length ? this.page.looks.score : "0";
    refill(this.choice, "score", segments("Score", names, score, (text) => this.page.look({ score: text })));
    const shown = (/** @type {number[][][]} */ all) => ({
      planes: /** @type {[string, string][]} */ ([["", ""]]), rows: all[0].length, columns: all[0][0].length, shape: [all[0].length, all[0][0].length], values: all[Number(score)].flat(),
      pad: /** @type {[number, number]} */ ([0, 0]), edit: null, digits: 3,
    });
    this.whole.show({ name: "scores", what: "of one pass over the image", ...shown(answer.whole) });
    this.apart.show({ name: "crops", what: "each by itself", ...shown(answer.apart) });
    const [one, many] = answer.seconds, ms = (/** @type {number} */ seconds) => `${short(+(1000 * seconds).toPrecision(3))} ms`;
    const [adds, all] = answer.multiply_adds.map((/** @type {number} */ n) => `${(n / 1e6).toFixed(0)} million`);
    this.facts.replaceChildren(...[
      ["one pass", ms(one)], [`${answer.whole[0].length ** 2} crops`, ms(many)], ["as fast", `${short(+(many / one).toPrecision(2))} times`],
      ["multiply-adds of one pass", adds], ["of the crops", all], ["largest difference", answer.difference.toExponential(0).replace("-", "−")],
    ].map(([name, fact]) => make("div", {}, make("dt", {}, name), make("dd", {}, fact))));
    this.mark(Number(this.page.looks.cell));
  }

  /** @param {number} index of the crop */
  mark(index) {
    const { answer } = this, { crop, step } = answer, columns = answer.whole[0][0].length;
    const row = Math.floor(index / columns) * step, column = index % columns * step;
    for (const grid of [this.whole, this.apart]) grid.mark(new Map([[index, "main"]]));
    this.picture.show({
      label: `crop of ${crop} × ${crop} at ${row}, ${column}`, sources: [answer.picture], size: answer.size,
      frames: [{ rows: [row, row + crop - 1], columns: [column, column + crop - 1], tone: getComputedStyle(this.whole.element).getPropertyValue("--tone") }],
    });
  }
}
