"use strict";
// Elements and numbers.

/**
 * Make an element: `make("button", {class: "wide", onclick: go}, "Go")`.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [attributes] functions are listeners; false and null are left out
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children);
  return element;
}

/**
 * The element of this id, which is in index.html.
 * @param {string} id
 */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * A number in at most so many digits, as it stands in a cell.
 * @param {number | null} value
 */
function short(value, digits = 4) {
  if (value === null) return "∞";
  const size = Math.abs(value);
  const text = size && (size < 0.001 || size >= 1e5) ? value.toExponential(1)
    : size >= 10 ** digits ? value.toFixed(0) : String(+value.toPrecision(digits));
  return text.replace("-", "−");
}

/**
 * Buttons of which one is pressed.
 * @param {string} label
 * @param {[string, string][]} choices value and text
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
function segments(label, choices, chosen, choose) {
  const buttons = choices.map(([value, text]) => make("button", {
    type: "button", "aria-pressed": value === chosen, "data-value": value, onclick: () => choose(value),
  }, text));
  return make("div", { class: "segments", role: "group", "aria-label": label }, ...buttons);
}

/**
 * Put new children into an element, and the focus back on what has the same `data-value`.
 * @param {Element} element
 * @param {(Node | string)[]} children
 */
function refill(element, ...children) {
  const focus = document.activeElement;
  const value = focus && element.contains(focus) ? focus.getAttribute("data-value") : null;
  element.replaceChildren(...children);
  if (value !== null) {
    /** @type {HTMLElement | null} */ (element.querySelector(`[data-value="${CSS.escape(value)}"]`))?.focus();
  }
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

/** What is said in names, lines and results. @param {string[][]} facts */
function told(facts) {
  return facts.map((fact) => make("p", {}, ...fact.slice(0, -1).map((line) => make("span", {}, line)), make("strong", {}, fact.at(-1) || "")));
}

/** What can be done with cells. @param {string} what pointing does @param {string} [more] */
function hint(what, more = "") {
  return make("p", { class: "hint" }, `Point at a cell to ${what}; press it to hold on, Escape lets go. ${more}`,
    RECORDED ? "In tinyfcn explore, numbers can be changed." : "Type into a cell with a dotted line, or drag it up and down.");
}
