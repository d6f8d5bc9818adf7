"use strict";
// What a warp does to memory at once: its lanes, the sectors or banks they touch, what that costs.

/**
 * @typedef {object} KernelEvent a request of a warp, or a wait of its lanes
 * @property {string} file
 * @property {number} line
 * @property {string} access
 * @property {number[]} lanes
 * @property {"global" | "shared"} [memory]
 * @property {string} name of the variable
 * @property {number} shift bytes before it, in its first sector or in shared memory
 * @property {number} bytes of an element
 * @property {number} each elements that a lane accesses
 * @property {number[]} at element of each lane
 * @property {(number | string | null)[]} values null is NaN; of a table of pointers the names of what they point to
 * @property {number} cost sectors or turns, as the profile counts them
 * @property {number} least
 */

const SECTOR = 32, BANKS = 32, WORD = 4; // bytes, banks, bytes
const TINTS = 6;

/** The values of a lane as text. @param {KernelEvent} event @param {number} i its place among the lanes */
function valueText(event, i) {
  return event.values.slice(i * event.each, (i + 1) * event.each).map((value) => (typeof value === "string" ? value : value === null ? "NaN" : short(value))).join(", ");
}

/** What a lane accesses: a[12], left + 17. @param {KernelEvent} event @param {number} i */
function placeText(event, i) {
  const at = event.at[i], last = event.each > 1 ? `…${at + event.each - 1}` : "";
  return `${event.name}[${at}${last}]`;
}

class WarpMemory {
  /** @param {(lane: number) => void} pick */
  constructor(pick) {
    this.title = make("h3");
    this.picker = new Picker("Lanes of the warp", pick);
    this.picker.element.classList.add("lanes");
    this.body = make("div", { class: "memory", tabindex: 0, role: "group" });
    this.element = make("div", { class: "warp", onpointerover: (/** @type {Event} */ event) => this.point(event.target), onpointerleave: () => this.point(null) },
      this.title, this.picker.element, this.body);
  }

  /** Mark the lane or the word that is pointed at, and what belongs to it. @param {EventTarget | null} target */
  point(target) {
    const lanes = (target instanceof Element && target.closest("[data-lanes]")?.getAttribute("data-lanes") || "").split(" ");
    for (const each of this.element.querySelectorAll("[data-lanes]")) {
      const own = (each.getAttribute("data-lanes") || "").split(" ");
      each.classList.toggle("pointed", own.some((lane) => lane && lanes.includes(lane)));
    }
  }

  /**
   * @param {KernelEvent | undefined} event
   * @param {number} lane
   * @param {number} lanes of the warp
   */
  show(event, lane, lanes) {
    const tints = event?.memory === "shared" ? this.banks(event, lane) : event?.memory ? this.sectors(event, lane) : this.none(event);
    const at = new Map((event?.lanes || []).map((one, i) => [one, i]));
    this.picker.show(lanes, this.element.clientWidth < 600 ? 8 : 16, lane, (one) => {
      const i = at.get(one);
      return [String(one), event && i !== undefined && event.memory ? valueText(event, i).replace(/,.*/, " …") : i === undefined ? "" : "waits",
        i === undefined ? "" : `tint${(tints.get(one) ?? 0) % TINTS}`];
    });
    const mine = this.body.querySelector(".mine");
    if (mine instanceof HTMLElement) this.body.scrollLeft = mine.offsetLeft - this.body.clientWidth / 2;
    [...this.picker.element.children].forEach((option, i) => option.setAttribute("data-lanes", String(i)));
  }

  /** @param {KernelEvent | undefined} event */
  none(event) {
    this.title.replaceChildren(event ? `${event.lanes.length} lanes wait at the barrier of ${event.file}:${event.line}` : "This thread accesses no memory.");
    this.body.replaceChildren();
    return new Map((event?.lanes || []).map((lane) => [lane, 0]));
  }

  /** @param {KernelEvent} event @param {string} unit @param {string} least */
  head(event, unit, least) {
    const many = (/** @type {number} */ n, /** @type {string} */ word) => `${n} ${word}${n > 1 ? "s" : ""}`;
    this.title.replaceChildren(make("b", { class: event.cost > event.least ? "dear" : "" }, many(event.cost, unit)),
      ` for ${many(event.lanes.length, "lane")} that ${event.access.replace(/s$/, "")} ${event.name}`,
      make("small", {}, ` ${event.memory} memory; ${least} ${event.least}`));
    this.body.setAttribute("aria-label", `${many(event.cost, unit)} of ${event.name}`);
  }

  /** A row for each sector of 32 bytes. @param {KernelEvent} event @param {number} lane */
  sectors(event, lane) {
    this.head(event, "sector", "side by side");
    /** @type {Map<number, Map<number, number[]>>} */
    const sectors = new Map(), tints = new Map(), unit = event.bytes;
    event.at.forEach((at, i) => {
      for (let e = 0; e < event.each; e++) {
        const byte = at * unit + event.shift + e * unit, sector = Math.floor(byte / SECTOR);
        const words = sectors.get(sector) || new Map();
        sectors.set(sector, words);
        words.set(byte, [...words.get(byte) || [], event.lanes[i]]);
      }
    });
    const order = [...sectors.keys()].sort((a, b) => a - b);
    order.forEach((sector, i) => sectors.get(sector)?.forEach((all) => all.forEach((one) => tints.has(one) || tints.set(one, i))));
    this.body.className = "memory sectors";
    this.body.replaceChildren(...order.map((sector, i) => make("div", { class: "sector" },
      make("span", { class: "from" }, `${event.name}[${Math.max(0, (sector * SECTOR - event.shift) / unit)}]`),
      make("div", { class: "words" }, ...Array.from({ length: SECTOR / unit }, (_, word) =>
        cell(sectors.get(sector)?.get(sector * SECTOR + word * unit), i, lane))))));
    return tints;
  }

  /** A column for each bank; what lies below each other takes turns. @param {KernelEvent} event @param {number} lane */
  banks(event, lane) {
    this.head(event, "turn", "without conflicts");
    const size = event.bytes * event.each, together = size <= 4 ? 32 : size <= 8 ? 16 : 8;
    /** @type {Map<number, Map<number, number[]>[]>} */
    const parts = new Map(), tints = new Map();
    event.at.forEach((at, i) => {
      const part = Math.floor(event.lanes[i] / together), banks = parts.get(part) || Array.from({ length: BANKS }, () => new Map());
      parts.set(part, banks);
      for (let byte = at * event.bytes + event.shift, end = byte + size; byte < end; byte += WORD) {
        const word = Math.floor(byte / WORD), bank = banks[word % BANKS];
        bank.set(word, [...bank.get(word) || [], event.lanes[i]]);
        if (!tints.has(event.lanes[i])) tints.set(event.lanes[i], word % BANKS);
      }
    });
    this.body.className = "memory banks";
    this.body.replaceChildren(...[...parts.values()].map((banks) => make("div", { class: "part" }, ...banks.map((words, bank) =>
      make("div", { class: "bank" }, make("span", { class: "from" }, String(bank)), ...[...words.values()].map((all) => cell(all, bank, lane)))))));
    return tints;
  }
}

/** A word: who accesses it. @param {number[] | undefined} lanes @param {number} tint @param {number} lane */
function cell(lanes, tint, lane) {
  if (!lanes) return make("span", { class: "word unused", title: "moved, but not asked for" });
  const mine = lanes.includes(lane);
  return make("span", { class: `word tint${tint % TINTS}${mine ? " mine" : ""}`, "data-lanes": lanes.join(" "), title: `lane ${lanes.join(", ")}` }, lanes.length > 1 ? `${lanes[0]}+` : String(lanes[0]));
}

/** One of many, chosen by clicks and arrow keys. */
class Picker {
  /** @param {string} label @param {(at: number) => void} pick */
  constructor(label, pick) {
    this.pick = pick;
    this.element = make("div", { class: "picker", role: "listbox", tabindex: 0, "aria-label": label,
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) });
    this.at = this.count = 0;
    this.columns = 1;
  }

  /**
   * @param {number} count
   * @param {number} columns
   * @param {number} at
   * @param {(at: number) => [string, string, string]} text what it is called, what else it says, its class
   */
  show(count, columns, at, text) {
    Object.assign(this, { count, columns, at });
    this.element.style.setProperty("--columns", String(columns));
    while (this.element.children.length > count) this.element.lastElementChild?.remove();
    while (this.element.children.length < count) {
      const number = this.element.children.length;
      this.element.append(make("div", { role: "option", id: `pick${Picker.made++}`, onclick: () => this.pick(number) }));
    }
    [...this.element.children].forEach((option, i) => {
      const [name, more, kind] = text(i);
      option.className = kind;
      if (!name) option.setAttribute("aria-label", String(i));
      option.setAttribute("aria-selected", String(i === at));
      option.replaceChildren(name, ...(more ? [make("small", {}, more)] : []));
    });
    this.element.setAttribute("aria-activedescendant", this.element.children[at]?.id || "");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, Home: -this.at, End: this.count - 1 - this.at }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const to = this.at + by;
    if (to >= 0 && to < this.count && to !== this.at) this.pick(to);
  }
}
Picker.made = 0;
