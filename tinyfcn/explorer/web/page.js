"use strict";
// The page around the rooms: it reads the address, asks, and lets the room draw.

/**
 * A room: built when it is entered, drawn at each answer and whenever its looks change.
 * @typedef {object} Room
 * @property {string} title
 * @property {Record<string, [string, RegExp]>} looks what its address holds beside what is asked: the
 *   default, and what else it may be
 * @property {(page: Page, main: HTMLElement) => (answer: any) => void} build gives what draws
 */

/** @type {Record<string, Room>} */
const ROOMS = {};

class Page {
  constructor() {
    this.room = "";
    /** @type {Settings} */
    this.settings = {};
    /** @type {Settings} */
    this.looks = {};
    /** @type {any} */
    this.answer = null;
    /** @type {(answer: any) => void} */
    this.draw = () => {};
    this.asking = false;
    this.waiting = false;
  }

  /** Enter the room of the address, with its settings. */
  enter() {
    let { room, settings } = readAddress();
    if (!(room in ROOMS)) [room, settings] = [Object.keys(ROOMS)[0], {}];
    if (room !== this.room) {
      this.room = room;
      const main = byId("room");
      main.dataset.room = room;
      main.replaceChildren();
      this.answer = null;
      this.draw = ROOMS[room].build(this, main);
      document.title = `${ROOMS[room].title} · tinyfcn explore`;
      refill(byId("rooms"), ...Object.entries(ROOMS).map(([name, { title }]) =>
        make("a", { href: `#${name}`, "data-value": name, "aria-current": name === room && "page" }, title)));
    }
    const looks = ROOMS[room].looks;
    const split = Object.entries(settings);
    this.looks = Object.fromEntries(Object.entries(looks).map(([name, [usual, valid]]) =>
      [name, valid.test(settings[name] ?? "") ? settings[name] : usual]));
    this.settings = Object.fromEntries(split.filter(([name]) => !(name in looks)));
    return this.ask();
  }

  /**
   * Ask with other settings; null stands for the default.
   * @param {Record<string, string | null>} changes
   */
  change(changes) {
    this.settings = changed(this.settings, changes);
    this.write();
    return this.ask();
  }

  /**
   * Draw otherwise what was answered.
   * @param {Settings} looks
   */
  look(looks) {
    Object.assign(this.looks, looks);
    this.write();
    if (this.answer) this.draw(this.answer);
  }

  /** Choose what a control calls so. @param {Control} control @param {string} text */
  choose(control, text) {
    return this.change(control.options.find(([each]) => each === text)?.[1] || {});
  }

  /** A button, if numbers of these settings were changed. @param {string[]} names */
  undo(names) {
    return names.some((name) => this.settings[name]) ? [make("button", {
      type: "button", "data-value": "reset", onclick: () => this.change(Object.fromEntries(names.map((name) => [name, null]))),
    }, "Undo changes")] : [];
  }

  /**
   * A grid whose cells are pointed at, held on to by the address, and changed.
   * @param {string} name
   * @param {string} tone
   * @param {(index: number | null) => void} point
   * @param {Partial<GridEvents>} [more]
   */
  grid(name, tone, point, more = {}) {
    const grid = new Grid(tone, {
      point,
      pin: (index) => this.look({ at: this.looks.at === `${name}.${index}` ? "" : `${name}.${index}` }),
      free: () => { point(null); this.look({ at: "" }); },
      edit: (place, value) => {
        const setting = grid.data.edit || "";
        this.change({ [setting]: withEdit(this.settings[setting], place, value) });
      },
      ...more,
    });
    grid.element.dataset.grid = name;
    return grid;
  }

  write() {
    const usual = ROOMS[this.room].looks;
    const looks = Object.fromEntries(Object.entries(this.looks).filter(([name, value]) => value !== usual[name][0]));
    writeAddress(this.room, { ...this.settings, ...looks });
  }

  /** One question at a time; what changed meanwhile is asked after it. */
  async ask() {
    this.waiting = true;
    if (this.asking) return;
    this.asking = true;
    while (this.waiting) {
      this.waiting = false;
      const { room, settings } = this;
      try {
        const answer = await ask(room, settings);
        if (room !== this.room || this.waiting) continue;
        this.answer = answer;
        this.problem("");
        this.draw(answer);
      } catch (error) {
        this.problem(/** @type {Error} */ (error).message);
        console.debug(error);
      }
    }
    byId("room").hidden = !this.answer;
    this.asking = false;
    document.body.dataset.ready = String(Number(document.body.dataset.ready || 0) + 1);
  }

  /** @param {string} sentence */
  problem(sentence) {
    const line = byId("problem");
    line.hidden = !sentence;
    line.replaceChildren(...(sentence ? [sentence + " ", make("a", { href: `#${this.room}` }, "Start again")] : []));
  }

  /** Controls with the options that there are answers for. @param {Control[]} controls */
  offered(controls) {
    return controls.map((control) => {
      const now = control.options[control.at];
      const options = control.options.filter((each) => each === now || answered(this.room, changed(this.settings, each[1])));
      return { ...control, options, at: options.indexOf(now) };
    });
  }
}

/** Programs that give the same numbers: a tab for each; the chosen one can be copied. */
class CodePanel {
  /** @param {(name: string) => void} choose none is chosen where it is closed */
  constructor(choose) {
    this.choose = choose;
    this.body = make("div");
    this.element = make("details", { class: "code card" }, make("summary", {}, "Show the code"), this.body);
    this.element.addEventListener("toggle", () => {
      if (this.element.open !== this.open) choose(this.element.open ? "tinyfcn" : "");
    });
    this.open = false;
  }

  /**
   * @param {Record<string, string>} programs
   * @param {string} chosen
   */
  show(programs, chosen) {
    this.element.open = this.open = chosen in programs;
    const names = Object.keys(programs), name = this.open ? chosen : names[0];
    refill(this.body,
      make("div", { class: "bar" }, segments("Library", names.map((each) => [each, each]), name, this.choose), copyButton("Copy code", () => programs[name])),
      make("pre", { tabindex: 0, role: "region", "aria-label": `${name} code` }, programs[name]));
  }
}

/**
 * @param {string} label
 * @param {() => string} text
 */
function copyButton(label, text) {
  const button = make("button", { type: "button", "data-value": label, onclick: () => copy(button, text()) }, label);
  return button;
}

/**
 * @param {HTMLElement} button
 * @param {string} text
 */
async function copy(button, text) {
  const label = button.textContent || "";
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  button.textContent = done ? "Copied" : "Copying is not allowed here";
  window.setTimeout(() => { button.textContent = label; }, 1500);
}

/** Light or dark, as the system has it or as was chosen last. */
function theme() {
  const root = document.documentElement, button = byId("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => { button.textContent = dark() ? "Light" : "Dark"; };
  try { root.dataset.theme = localStorage.getItem("theme") || ""; } catch { /* files may not remember */ }
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* nor write */ }
    show();
    window.dispatchEvent(new Event("resize")); // what is drawn has colours of its own
  });
  system.addEventListener("change", () => { show(); window.dispatchEvent(new Event("resize")); });
  show();
}

const page = new Page();
document.addEventListener("DOMContentLoaded", () => {
  theme();
  const link = byId("link");
  link.addEventListener("click", () => {
    settleAddress();
    copy(link, location.href);
  });
  window.addEventListener("pagehide", settleAddress);
  window.addEventListener("hashchange", () => page.enter());
  window.addEventListener("resize", () => page.answer && page.draw(page.answer));
  page.enter();
});
