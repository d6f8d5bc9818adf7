"use strict";
// A player: back and forth through numbered steps, at a speed.

class Steps {
  /**
   * @param {(step: number) => void} change
   * @param {(speed: string) => void} hurry
   */
  constructor(change, hurry) {
    this.change = change;
    this.count = 1;
    this.at = 0;
    this.timer = 0;
    const button = (/** @type {string} */ label, /** @type {string} */ text, /** @type {() => void} */ onclick) =>
      make("button", { type: "button", "aria-label": label, title: label, onclick }, text);
    this.play = button("Play", "▶", () => this.toggle());
    this.slider = make("input", {
      type: "range", min: 0, name: "step", "aria-label": "step", oninput: () => this.go(Number(this.slider.value)),
    });
    this.output = make("output");
    this.speed = make("input", {
      type: "range", min: 0, max: 4, value: 2, name: "speed", "aria-label": "speed",
      oninput: () => {
        hurry(this.speed.value);
        if (!this.timer) return;
        this.stop();
        this.toggle();
      },
    });
    this.element = make("div", { class: "steps", role: "group", "aria-label": "Step by step" },
      button("First step", "⇤", () => this.go(0)), button("Step back", "◀", () => this.go(this.at - 1)), this.play,
      button("Step forward", "▷", () => this.go(this.at + 1)), this.slider, this.output,
      make("label", { class: "speed" }, "speed", this.speed));
  }

  /** Steps a second. */
  get rate() {
    return 2 ** (Number(this.speed.value) - 1);
  }

  /**
   * @param {number} count
   * @param {number} at
   * @param {string} speed
   */
  show(count, at, speed = this.speed.value) {
    this.count = count;
    this.at = Math.max(0, Math.min(at, count - 1));
    this.slider.max = String(count - 1);
    this.slider.value = String(this.at);
    this.output.textContent = `${this.at + 1} of ${count}`;
    this.slider.setAttribute("aria-valuetext", this.output.textContent);
    this.speed.value = speed;
    this.speed.setAttribute("aria-valuetext", this.speed.title = `${this.rate} steps a second`);
  }

  /** @param {number} step */
  go(step) {
    if (step < 0 || step >= this.count) return;
    this.show(this.count, step);
    this.change(step);
  }

  toggle() {
    if (this.timer) return this.stop();
    if (this.at === this.count - 1) this.go(0);
    this.timer = window.setInterval(() => {
      if (this.at === this.count - 1 || !this.element.isConnected) this.stop();
      else this.go(this.at + 1);
    }, 1000 / this.rate);
    this.say();
  }

  stop() {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.say();
  }

  say() {
    this.play.textContent = this.timer ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", this.timer ? "Pause" : "Play");
  }
}
