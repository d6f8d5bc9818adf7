"use strict";
// Sliders and choices that offer what makes sense, and in recorded pages what was recorded.

/**
 * @typedef {object} Control
 * @property {string} name
 * @property {string[]} label its row, and its column if the row has several
 * @property {number} at which of the options it stands at
 * @property {[string, Record<string, string | null>][]} options text, and what it changes
 */

class Controls {
  /** @param {(changes: Record<string, string | null>) => void} change */
  constructor(change) {
    this.change = change;
    this.element = make("div", { class: "controls", role: "group", "aria-label": "Settings" });
    /** @type {Map<string, {data: Control, input: HTMLInputElement | HTMLSelectElement, output: HTMLOutputElement}>} */
    this.shown = new Map();
    this.names = "";
  }

  /** @param {Control[]} controls */
  show(controls) {
    const names = controls.map((each) => each.label.join()).join(";");
    if (names !== this.names) this.build(controls);
    this.names = names;
    for (const data of controls) {
      const one = this.shown.get(data.name);
      if (!one) continue;
      one.data = data;
      const { input, output } = one, [text] = data.options[data.at];
      input.disabled = data.options.length < 2;
      output.textContent = text;
      if (input instanceof HTMLSelectElement) {
        input.replaceChildren(...data.options.map(([value]) => make("option", { value }, value)));
        input.value = text;
      } else {
        input.max = String(data.options.length - 1);
        input.value = String(data.at);
        input.setAttribute("aria-valuetext", text);
      }
    }
  }

  /** @param {Control[]} controls */
  build(controls) {
    const focus = document.activeElement?.getAttribute("name");
    this.shown.clear();
    /** @type {Map<string, Control[]>} */
    const rows = new Map();
    for (const control of controls) rows.set(control.label[0], [...rows.get(control.label[0]) || [], control]);
    this.element.replaceChildren();
    let head = "";
    for (const [label, row] of rows) {
      const columns = row.map((control) => control.label[1] || "").join("");
      if (columns && columns !== head) {
        this.element.append(make("div", { class: "head", "aria-hidden": "true" }, make("span"),
          ...row.map((control) => make("span", {}, control.label[1]))));
      }
      head = columns;
      this.element.append(make("div", { class: "row" }, make("span", {}, label), ...row.map((control) => this.one(control))));
    }
    if (focus) this.shown.get(focus)?.input.focus();
  }

  /** @param {Control} data */
  one(data) {
    const label = data.label.join(" "), words = data.options.some(([text]) => !/^\d+$/.test(text));
    const changed = () => {
      const one = this.shown.get(data.name);
      if (!one) return;
      const at = input instanceof HTMLSelectElement ? input.selectedIndex : Number(input.value);
      one.output.textContent = one.data.options[at][0];
      this.change(one.data.options[at][1]);
    };
    const input = words ? make("select", { name: data.name, "aria-label": label, onchange: changed })
      : make("input", { type: "range", min: 0, max: data.options.length - 1, name: data.name, "aria-label": label, oninput: changed });
    const output = make("output", { hidden: words });
    this.shown.set(data.name, { data, input, output });
    return make("span", { class: words ? "choice" : "slider" }, input, output);
  }
}
