"use strict";
// The kernel room: the source, a thread's steps through it, what its warp does, and what races.

/** @typedef {{line: string, block: number, thread: number, name: string}} Racer */

class KernelRoom {
  /** @param {Page} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    this.controls = new Controls((changes) => page.change({ ...changes }));
    this.blocks = new Picker("Blocks of the grid", (block) => this.go(block, 32 * this.answer.launch.warp + Number(page.looks.lane)));
    this.threads = new Picker("Threads of the block", (thread) => this.go(this.answer.launch.number, thread));
    this.threads.element.classList.add("threads");
    this.blockTitle = make("p", { class: "label" });
    this.threadTitle = make("p", { class: "label" });
    this.needs = make("p", { class: "note needs", role: "status" });
    this.title = make("h2");
    this.now = make("p", { class: "now", role: "status" });
    this.steps = new Steps((step) => page.look({ step: String(step) }), (speed) => page.look({ speed }));
    this.source = make("div", { class: "source", tabindex: 0, role: "group", "aria-label": "Source" });
    this.memory = new WarpMemory((lane) => page.look({ lane: String(lane) }));
    this.past = make("ol", { class: "past", tabindex: 0, "aria-label": "Reads and writes so far" });
    this.race = make("section", { class: "race of-w", "aria-label": "Without a barrier" });
    this.compared = make("section", { class: "card compared", "aria-label": "What it costs" });
    this.code = new CodePanel((code) => page.look({ code }));
    this.stage = make("div", { class: "stage card" }, this.title, make("div", { class: "bar" }, this.steps.element), this.now,
      this.source, this.race, this.memory.element);
    this.soFar = make("p", { class: "label" }, "This thread so far");
    main.replaceChildren(
      make("aside", { class: "card" }, this.controls.element, this.blockTitle, this.blocks.element, this.threadTitle, this.threads.element, this.soFar, this.past),
      this.needs, this.stage, this.compared, this.code.element);
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
  }

  /** Look at a thread of a block. @param {number} block @param {number} thread */
  go(block, thread) {
    const { page, answer: { launch } } = this, warp = Math.floor(thread / 32), lane = String(thread % 32);
    if (warp === launch.warp && block === launch.number) return page.look({ lane });
    if (!this.recorded(block, warp)) return;
    page.looks.lane = lane;
    page.change(this.place(block, warp));
  }

  /** @param {number} block @param {number} warp */
  place(block, warp) {
    return { block: block ? String(block) : null, warp: warp ? String(warp) : null };
  }

  /** @param {number} block @param {number} warp */
  recorded(block, warp) {
    return answered("kernel", changed(this.page.settings, this.place(block, warp)));
  }

  /** @param {any} answer */
  draw(answer) {
    const fresh = answer !== this.answer;
    this.answer = answer;
    const { page } = this, named = new Map(page.offered(answer.controls).map((control) => [control.name, control]));
    this.cut = /** @type {Control} */ (named.get("cut"));
    this.seed = /** @type {Control} */ (named.get("seed"));
    named.delete("cut");
    named.delete("seed");
    this.controls.show([...named.values()]);
    this.code.show(answer.code, page.looks.code);
    const needs = answer.needs !== null;
    this.needs.hidden = !needs;
    for (const part of [this.stage, this.compared, this.blockTitle, this.blocks.element, this.threadTitle, this.threads.element, this.soFar, this.past]) part.hidden = needs;
    this.needs.textContent = answer.needs || "";
    if (needs) return;
    if (fresh) {
      this.list(answer);
      this.compare(answer);
      this.raced(answer);
    } else if (answer.race && this.map) wrongMap(this.map, answer.race); // in other colours, maybe
    this.follow(answer);
  }

  /** The thread, its step, its warp's request. @param {any} answer */
  follow(answer) {
    const { page } = this, { launch } = answer, lanes = answer.lanes.length;
    const lane = Math.min(Number(page.looks.lane), lanes - 1);
    const mine = /** @type {number[]} */ (answer.lanes[lane]), events = /** @type {KernelEvent[]} */ (answer.events);
    this.steps.show(Math.max(1, mine.length), Number(page.looks.step), page.looks.speed);
    const step = this.steps.at, event = events[mine[step]];
    const [block, thread] = [at(launch.number, launch.grid), at(launch.warp * 32 + lane, launch.block)];
    this.title.replaceChildren(make("b", {}, launch.function.replace("<", "\u200b<")),
      make("small", {}, `grid ${sizes(launch.grid)} · block ${sizes(launch.block)}`));
    const races = this.racing(answer), here = races.filter((one) => one.block === launch.number);
    this.blockTitle.textContent = `Block (${block.join(", ")})`;
    this.blocks.show(launch.grid.reduce(product), Math.min(16, launch.grid[0]), launch.number,
      (i) => [String(i), "", `${this.recorded(i, launch.warp) ? "" : "off"}${races.some((one) => one.block === i) ? " races" : ""}`]);
    this.threadTitle.textContent = `Thread (${thread.join(", ")}): lane ${lane} of warp ${launch.warp}`;
    this.threads.show(launch.block.reduce(product), 32, launch.warp * 32 + lane,
      (i) => ["", "", here.some((one) => one.thread === i) ? "races" : Math.floor(i / 32) === launch.warp ? "here" : ""]);
    const i = event ? event.lanes.indexOf(lane) : -1;
    this.now.replaceChildren(...(event ? [make("b", {}, `${event.file}:${event.line}`), " ",
      ...this.deed(event, i)] : ["This thread touches no memory."]));
    for (const row of this.rows.values()) row.classList.remove("current");
    const row = event && this.rows.get(`${event.file}:${event.line}`);
    if (row) {
      row.classList.add("current");
      const box = this.source, top = row.offsetTop;
      if (top < box.scrollTop || top + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
    }
    this.memory.show(event, lane, lanes);
    const from = Math.max(0, step - 199); // of what is long past less is asked
    this.past.start = from + 1;
    this.past.replaceChildren(...mine.slice(from, step + 1).map((number) => {
      const one = events[number];
      return make("li", {}, make("span", { class: "at" }, `${one.line}`), " ", ...this.deed(one, one.lanes.indexOf(lane)));
    }));
    this.past.scrollTop = this.past.scrollHeight;
  }

  /** What a lane does. @param {KernelEvent} event @param {number} i */
  deed(event, i) {
    if (!event.memory) return ["waits for the others"];
    const sign = event.access === "reads" ? " → " : " ← ";
    return [`${event.access} `, make("span", { class: event.memory }, placeText(event, i)), sign, make("b", {}, valueText(event, i))];
  }

  /** The source with what its lines cost. @param {any} answer */
  list(answer) {
    this.rows.clear();
    /** @type {Map<string, HTMLElement[]>} */
    const chips = new Map();
    for (const [file, line, memory, access, requests, cost, least] of answer.costs) {
      const key = `${file}:${line}`, each = short(cost / requests), unit = memory === "global" ? "sectors" : "turns";
      chips.set(key, [...chips.get(key) || [], make("span", { class: `chip ${memory}`, title: `${memory} memory, ${access}: ${requests} requests, ${cost} ${unit}, at best ${least}` },
        `${requests} × ${each}${cost > 1.3 * least ? " !" : ""}`)]);
    }
    const cuts = new Map(answer.barriers.map((/** @type {[string, number]} */ [file, line], /** @type {number} */ i) => [`${file}:${line}`, String(i + 1)]));
    const racing = new Map(this.racing(answer).map((one) => [one.line, one]));
    this.source.replaceChildren(...answer.listing.flatMap((/** @type {any} */ part) => [
      make("div", { class: "file" }, make("span", {}, part.file), ...(part === answer.listing[0] ? [make("span", {}, "requests × ",
        make("span", { class: "global" }, "sectors"), " or ", make("span", { class: "shared" }, "turns"), " of each")] : [])),
      ...part.lines.map((/** @type {string} */ text, /** @type {number} */ i) => {
        const line = part.first + i, key = `${part.file}:${line}`, cut = cuts.get(key), gone = cut !== undefined && cut === this.page.settings.cut;
        const row = make("div", { class: `line${racing.has(key) ? " racing" : ""}${gone ? " gone" : ""}` },
          make("span", { class: "number" }, String(line)), make("code", {}, text || " ",
            ...(racing.has(key) ? [this.racer(/** @type {Racer} */ (racing.get(key)))] : [])),
          make("span", { class: "chips" }, ...chips.get(key) || [], ...(cut ? [this.scissors(cut, gone)] : [])));
        this.rows.set(key, row);
        return row;
      })]));
  }

  /** Who races: its line, and the numbers and the names of its block and its thread. @param {any} answer @returns {Racer[]} */
  racing({ race, launch }) {
    return (race?.report?.places || []).map((/** @type {[string, number, number[], number[]]} */ [file, line, block, thread]) => ({
      line: `${file}:${line}`, block: number(block, launch.grid), thread: number(thread, launch.block),
      name: `thread (${thread.join(", ")}) of block (${block.join(", ")})`,
    }));
  }

  /** @param {Racer} one */
  racer({ block, thread, name }) {
    return make("button", { type: "button", class: "who", "data-value": name, disabled: !this.recorded(block, Math.floor(thread / 32)),
      onclick: () => this.go(block, thread) }, `⚡ ${name}`);
  }

  /** A switch that deletes a barrier. @param {string} cut @param {boolean} gone */
  scissors(cut, gone) {
    const option = this.cut?.options.find(([text]) => text === (gone ? "no" : cut));
    return make("button", { type: "button", role: "switch", "aria-checked": String(gone), "data-value": `cut${cut}`, disabled: !option, "aria-label": "delete this barrier",
      onclick: () => this.page.change(option?.[1] || {}) }, gone ? "put back" : "✂ delete");
  }

  /** What came out without a barrier. @param {any} answer */
  raced({ race }) {
    if (!race) {
      this.race.replaceChildren(make("p", { class: "note" }, this.answer.barriers.length
        ? "What are the barriers for? Delete one in the source: its wrong numbers appear here, and the two lines and threads that race light up."
        : "This kernel has no barrier: its threads share nothing."));
      return;
    }
    const total = race.rows * race.columns, wrong = race.wrong.length, { seed, page } = this;
    const draw = () => {
      const others = seed?.options.filter((_, i) => i !== seed.at) || [];
      page.change(others[Math.floor(Math.random() * others.length)]?.[1] || {});
    };
    refill(this.race, make("h2", {}, "Without the barrier ", make("small", {}, `${race.cut[0]}:${race.cut[1]}, in a copy`)),
      make("div", { class: "bar" }, make("button", { type: "button", "data-value": "seed", onclick: draw, disabled: !seed || seed.options.length < 2 }, "Draw another order of threads"),
        make("span", { class: "note" }, `seed ${race.seed}`)),
      make("p", { class: "note", role: "status" }, race.fault ? race.fault : wrong ? `${wrong} of ${total} numbers are wrong.`
        : "Every number is right: in this order of threads the race did no harm. It is there all the same."),
      make("div", { class: "beside" }, this.map = make("canvas", { role: "img", class: "wrong" }),
        make("table", { class: "list", hidden: !wrong }, make("thead", {}, make("tr", {}, ...["place", "it gave", "right"].map((text) => make("th", { scope: "col" }, text)))),
          make("tbody", {}, ...race.shown.map((/** @type {any} */ [place, got, right]) => make("tr", {}, make("th", { scope: "row" }, `[${place.join(", ")}]`),
            make("td", { class: "bad" }, got === null ? "NaN" : short(got)), make("td", {}, short(right))))))),
      make("p", { class: "note report" }, race.report ? `The race check: ${race.report.said}` : "The race check finds nothing in this order."));
    wrongMap(this.map, race);
  }

  /** Requests and sectors of several kernels. @param {any} answer */
  compare({ compared }) {
    const most = Math.max(...compared.map((/** @type {any} */ [, { global }]) => global[1]), 1);
    const mostTurns = Math.max(...compared.map((/** @type {any} */ [, { shared }]) => shared[1]), 1);
    const plain = (/** @type {number} */ value) => make("td", {}, value.toLocaleString("en"));
    const bar = (/** @type {number} */ value, /** @type {number} */ most, /** @type {string} */ kind) => {
      const fill = make("span", { class: `fill ${kind}` });
      fill.style.width = `${100 * value / most}%`;
      return make("td", { class: "filled" }, fill, make("span", {}, value.toLocaleString("en")));
    };
    const each = (/** @type {number[]} */ [requests, cost]) => make("td", {}, requests ? short(cost / requests) : "");
    refill(this.compared, make("h2", {}, "What it costs ", make("small", {}, "the whole launch, counted by the emulator's profile")),
      make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "costs" }, make("table", { class: "list costs" },
        make("thead", {}, make("tr", {}, ...["kernel", "global requests", "sectors of 32 bytes", "per request", "shared requests", "turns", "per request"]
          .map((text) => make("th", { scope: "col" }, text)))),
        make("tbody", {}, ...compared.map((/** @type {any} */ [name, { global, shared }]) => {
          const change = this.page.offered(this.answer.controls).find((one) => one.name === "name")?.options.find(([text]) => text === name);
          const here = this.answer.launch.function.startsWith(`${name}<`);
          return make("tr", { class: here ? "here" : "" }, make("th", { scope: "row" }, make("button", { type: "button", "data-value": name, "aria-pressed": here,
            disabled: !change, onclick: () => this.page.change({ name: change?.[1].name ?? null, block: null, warp: null, cut: null, seed: null }) }, name)),
            plain(global[0]), bar(global[1], most, "global"), each(global), plain(shared[0]), bar(shared[1], mostTurns, "shared"), each(shared));
        })))));
  }
}

/** A map of the result, wrong numbers marked. @param {HTMLCanvasElement} canvas @param {any} race */
function wrongMap(canvas, race) {
  const size = Math.max(1, Math.min(8, Math.floor(260 / race.columns))), rows = Math.min(race.rows, Math.floor(260 / size));
  [canvas.width, canvas.height] = [race.columns * size, rows * size];
  canvas.setAttribute("aria-label", `The result, ${race.shape.join(" × ")}: ${race.wrong.length} numbers are wrong`);
  const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  if (!pen) return;
  pen.fillStyle = style.getPropertyValue("--line");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = style.getPropertyValue("--tone");
  for (const at of race.wrong) pen.fillRect(at % race.columns * size, Math.floor(at / race.columns) * size, size - (size > 2 ? 1 : 0), size - (size > 2 ? 1 : 0));
}

/** @param {number} a @param {number} b */
function product(a, b) {
  return a * b;
}

/** The number of an (x, y, z): the opposite of `at`. @param {number[]} place @param {number[]} of */
function number([x, y, z], of) {
  return x + of[0] * (y + of[1] * z);
}

/** The (x, y, z) of a number. @param {number} number @param {number[]} of */
function at(number, of) {
  return [number % of[0], Math.floor(number / of[0]) % of[1], Math.floor(number / of[0] / of[1])];
}

/** 4 × 4 for (4, 4, 1). @param {number[]} of */
function sizes(of) {
  return of.slice(0, of[2] > 1 ? 3 : of[1] > 1 ? 2 : 1).join(" × ");
}

ROOMS.kernel = {
  title: "Kernel",
  looks: { lane: ["0", /^([0-9]|[12][0-9]|3[01])$/], step: ["0", /^\d{1,5}$/], speed: ["2", /^[0-4]$/], code: ["", /^\w+$/] },
  build(page, main) {
    const room = new KernelRoom(page, main);
    return (answer) => room.draw(answer);
  },
};
