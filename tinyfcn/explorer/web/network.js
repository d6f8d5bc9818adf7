"use strict";
// The network room: maps of all layers, where scores look, skips, offsets, crops.

class Network {
  /** @param {Page} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    const pick = (/** @type {number} */ row, /** @type {number} */ column) => page.change({ row: String(row), column: String(column) });
    this.controls = new Controls((changes) => page.change(changes));
    this.tabs = make("div", { class: "bar" });
    this.heading = make("h2");
    this.note = make("p", { class: "note" });
    this.stage = make("div", { class: "gallery" });
    this.more = make("section", { class: "card layers", "aria-label": "Layers" });
    this.code = new CodePanel((code) => page.look({ code }));
    this.scores = make("div", { class: "scores" });
    this.image = new Picture(256, pick);
    this.labels = new Picture(256, pick);
    this.truth = new Picture(256);
    this.field = new Picture(640, pick);
    this.map = new NetworkMap(page);
    this.crops = new NetworkCrops(page);
    main.replaceChildren(
      make("aside", { class: "card" }, this.controls.element, this.scores),
      make("div", { class: "stage card" }, this.tabs, this.heading, this.note, this.stage), this.more, this.code.element);
    this.drawn = ""; // the view whose parts the stage holds
  }

  /** @param {any} answer */
  draw(answer) {
    const { page } = this, [view, ...controls] = page.offered(answer.controls);
    /** @type {Record<string, string>} */
    const titles = { maps: "Every map", field: "Receptive field", skips: "Skips", pad: "Why pad 100", crops: "Crops or one pass" };
    refill(this.tabs, segments("View", view.options.map(([text]) => [text, titles[text]]), answer.view,
      (text) => page.change(view.options.find(([each]) => each === text)?.[1] || {})));
    this.controls.show(controls);
    this.code.show(answer.code, page.looks.code);
    this.scores.replaceChildren(...(answer.scores ? this.scored(answer) : []));
    this.scores.hidden = !answer.scores;
    this.answer = answer;
    /** @type {Record<string, (answer: any, fresh: boolean) => void>} */
    const views = { maps: this.maps, field: this.seen, skips: this.skips, pad: this.pad, crops: this.cropped };
    const draw = views[answer.view];
    draw.call(this, answer, answer.view !== this.drawn);
    this.drawn = answer.view;
  }

  /** @param {string} title @param {string} note */
  say(title, note) {
    this.heading.textContent = title;
    this.note.textContent = note;
  }

  /** Put parts onto the stage once, so that what has the focus keeps it. @param {boolean} fresh @param {Node[]} parts */
  put(fresh, ...parts) {
    if (fresh) this.stage.replaceChildren(...parts);
  }

  /** The scores of the picked pixel. @param {any} answer */
  scored(answer) {
    const [row, column] = answer.at;
    return [make("table", { class: "list" }, make("caption", {}, `scores[:, ${row}, ${column}]`),
      make("thead", {}, make("tr", {}, ...["class", "score", "softmax"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...answer.scores.map((/** @type {[string, number[], number, number]} */ [name, colour, score, likely], /** @type {number} */ i) =>
        make("tr", { class: i === answer.label && "chosen" }, make("th", { scope: "row" }, swatch(colour), name),
          make("td", {}, short(score)), make("td", {}, likely.toFixed(3))))))];
  }

  /** @param {any} answer @param {boolean} fresh */
  maps(answer, fresh) {
    const { page } = this, size = answer.size, at = answer.at;
    this.say("Every map on the way from the image to its scores", `${answer.about} Blue is below 0, orange above. Pick a pixel of the image or of the labels, and a map to see its numbers.`);
    this.put(fresh, this.image.element, this.labels.element, this.map.element);
    this.image.show({ label: "image", sources: [answer.picture], size, at });
    this.labels.show({ label: "labels", sources: [answer.labels], size, at });
    this.map.show(answer);
    this.more.hidden = false;
    if (this.more.dataset.of === answer.layers[0].png + answer.layers.at(-1).png) return;
    this.more.dataset.of = answer.layers[0].png + answer.layers.at(-1).png;
    /** @type {Node[]} */
    const parts = [];
    let side = "";
    answer.layers.forEach((/** @type {any} */ layer, /** @type {number} */ i) => {
      const [channels, ...sides] = layer.shape;
      if (sides.join(" × ") !== side) parts.push(make("h3", {}, make("b", {}, side = sides.join(" × "))));
      const range = layer.range.map((/** @type {number} */ value) => short(value)).join(" … "), picture = make("img", { src: layer.png, alt: "", width: layer.width, height: layer.height });
      const show = (/** @type {MouseEvent} */ event) => {
        const box = picture.getBoundingClientRect();
        const column = Math.floor((event.clientX - box.left) / box.width * layer.columns), row = Math.floor((event.clientY - box.top) / box.height * layer.rows);
        const channel = event.detail ? Math.max(0, Math.min(channels - 1, row * layer.columns + column)) : 0; // 0: by a key
        page.look({ at: `${i}.${channel}` });
      };
      parts.push(make("button", {
        type: "button", class: "map", "data-value": `map${i}`, onclick: show,
        "aria-label": `${layer.name}, ${layer.kind}, ${channels} maps of ${sides.join(" × ")}, from ${short(layer.range[0])} to ${short(layer.range[1])}`,
      }, make("b", {}, layer.name), make("small", {}, layer.kind), picture, make("small", {}, layer.shape.join(" × ")), make("small", {}, range)));
    });
    refill(this.more, ...parts);
  }

  /** @param {any} answer @param {boolean} fresh */
  seen(answer, fresh) {
    const { theory, measured, central } = answer.boxes;
    this.say("What one score depends on", "Pick a pixel: its score depends on nothing outside of the outer frame, which follows from the layers. " +
      `The gradient with respect to the image, in orange, says on what it depends here. ${answer.trained ? "Trained weights" : "Random weights: this network was not trained"}.`);
    const legend = this.legend || (this.legend = make("dl", { class: "facts" }));
    this.put(fresh, this.field.element, legend);
    const named = /** @type {[string, [Span, Span], string, number[]][]} */ ([
      ["in theory", theory, "x", []], ["gradient other than 0", measured, "y", [6, 4]], ["95% of it, along each axis", central, "w", [2, 3]],
    ]);
    legend.replaceChildren(...named.map(([name, sides, tone]) => make("div", { class: `of-${tone}` },
      make("dt", {}, make("i", { class: "line" }), name),
      make("dd", {}, sides.map(([first, last]) => last - first + 1).join(" × ")),
      make("dd", { class: "quiet" }, sides[0][1] < sides[0][0] ? "nothing of the image matters here"
        : `rows ${short(sides[0][0])} to ${short(sides[0][1])}, columns ${short(sides[1][0])} to ${short(sides[1][1])}`))));
    const tones = [...legend.children].map((each) => getComputedStyle(each).getPropertyValue("--tone"));
    this.field.show({
      label: "image, pale, and the gradient of the score", sources: [answer.picture, answer.heat], pale: true, size: answer.size, at: answer.at,
      frames: named.map(([, [rows, columns], , dash], i) => ({ rows, columns, dash, tone: tones[i] })),
    });
    this.more.hidden = true;
  }

  /** @param {any} answer @param {boolean} fresh */
  skips(answer, fresh) {
    const { page } = this, size = answer.size, at = answer.at;
    this.say("Coarse scores, and what the skips add", "The scores of the last layers are 32 pixels apart. Scores of pool4 and pool3, 16 and 8 pixels apart, are added on the way up. Take them away:");
    const choices = this.choices || (this.choices = make("div", { class: "bar", role: "group", "aria-label": "Skips" }));
    this.put(fresh, this.image.element, this.truth.element, this.labels.element, choices);
    this.image.show({ label: "image", sources: [answer.picture], size, at });
    this.truth.show({ label: "truth", sources: [answer.truth], size });
    this.labels.show({ label: "labels", sources: [answer.labels], size, at });
    refill(choices, ...answer.combinations.map((/** @type {any} */ one) => {
      const name = [one.pool4 === "on" && "pool4", one.pool3 === "on" && "pool3"].filter(Boolean).join(" + ") || "no skip";
      const then = { pool4: one.pool4 === "on" ? null : "off", pool3: one.pool3 === "on" ? null : "off" };
      return make("button", {
        type: "button", class: "map", "data-value": name, "aria-pressed": String([one.pool4, one.pool3].join() === answer.on.join()),
        disabled: !answered(page.room, changed(page.settings, then)), onclick: () => page.change(then),
      }, make("b", {}, name), make("img", { src: one.png, alt: "", width: 128 }), make("small", {}, `mean IU ${one.iu.toFixed(3)}`));
    }));
    this.more.hidden = false;
    this.more.dataset.of = "";
    const [label] = answer.scores[answer.label];
    refill(this.more, make("h3", {}, make("b", {}, `Scores of ${label}, on their way up`)),
      ...answer.stages.map((/** @type {any} */ one) => make("figure", { class: "map" }, make("b", {}, one.name),
        make("img", { src: one.png, alt: `${one.name} from ${short(one.range[0])} to ${short(one.range[1])}`, width: 128 }),
        make("small", {}, one.shape.join(" × ")), make("small", {}, one.range.map((/** @type {number} */ value) => short(value)).join(" … ")))));
  }

  /** @param {any} answer @param {boolean} fresh */
  pad(answer, fresh) {
    const last = answer.crops.at(-1), found = last[1] === null ? `There is no such pixel of the scores with a padding of ${answer.pad}: they begin inside of the image.`
      : `With a padding of ${answer.pad} the first pixel of the scores lies ${last[1]} before the image, so a crop starts at ${last[1]}.`;
    this.say(`Why pad ${answer.pad}, why crop ${last[1] ?? "nowhere"}`, `Every layer moves the centre of its first pixel by ((k − 1) / 2 − p) · S pixels of the image, a transposed one by (p − (k − 1) / 2) · S′. ${found} ` +
      (answer.size === null ? `An image of ${answer.n} pixels leaves nothing for fc6.` : `An image of ${answer.n} pixels gives ${answer.size}${answer.covers ? ", enough." : ": too few to cover it."}`));
    const table = this.offsets || (this.offsets = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Offsets" }));
    this.put(fresh, table);
    const cell = (/** @type {any} */ value) => make("td", {}, value === null ? "–" : typeof value === "number" ? short(value) : value);
    table.replaceChildren(make("table", { class: "list" },
      make("thead", {}, make("tr", {}, ...["layer", "k", "s", "p", "S", "moves it by", "first pixel at", "size"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...answer.rows.map((/** @type {any[]} */ [name, ...rest]) =>
        make("tr", { class: rest[4] ? "chosen" : false }, make("th", { scope: "row" }, name), ...rest.map(cell))),
      ...answer.crops.map((/** @type {[string, number | null, string]} */ [name, , words]) =>
        make("tr", { class: "cut" }, make("th", { scope: "row" }, `crop of ${name}`), make("td", { colspan: 7 }, words.replaceAll("-", "−")))))));
    this.more.hidden = true;
  }

  /** @param {any} answer @param {boolean} fresh */
  cropped(answer, fresh) {
    this.say("36 crops, or one pass", `A fully connected layer is a convolution whose kernel is as large as the map, ${answer.kernel.join(" × ")} here. ` +
      "On a larger image it slides, and what crops share is computed once. Random weights, no padding.");
    this.put(fresh, this.crops.element);
    this.crops.show(answer);
    this.more.hidden = true;
  }
}

/** @param {number[]} colour */
function swatch(colour) {
  const element = make("i", { class: "swatch" });
  element.style.background = `rgb(${colour.join(" ")})`;
  return element;
}

ROOMS.network = {
  title: "Network",
  looks: { at: ["", /^\d{1,3}\.\d{1,4}$/], cell: ["14", /^\d{1,2}$/], score: ["0", /^\d{1,3}$/], code: ["", /^\w+$/] },
  build(page, main) {
    const room = new Network(page, main);
    return (answer) => room.draw(answer);
  },
};
