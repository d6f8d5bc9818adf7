"use strict";
// The learning room: a brush for the mask, and a check of the gradient of a cell that is chosen.

/** @type {[string, string][]} */
const BRUSHES = [["255", "255 void"], ["0", "0"], ["1", "1"], ["2", "2"], ["look", "only look"]];

class Learning extends Groups {
  /** @param {Page} page @param {HTMLElement} main */
  constructor(page, main) {
    super(page, main, { loss: "Loss and void", check: "Gradient check", norm: "Batch norm, ReLU" });
    this.check = new LearningCheck((eps) => page.look({ eps }));
  }

  /** @param {any} answer */
  draw(answer) {
    const { page, check } = this, painted = answer.groups[0].grids[0].paint;
    if (answer.check) check.show(answer.check, page.looks.eps);
    this.hint = painted ? "Drag over the mask to paint; by keys: 0, 1, 2, V for void, Space for the brush. " : "";
    this.more.hidden = !painted;
    refill(this.more, make("span", {}, "Brush for the mask"),
      segments("Brush", BRUSHES, page.looks.brush, (brush) => page.look({ brush })));
    super.draw(answer);
    if (!answer.check) return check.element.remove();
    const { element } = this.sections[0];
    if (element.nextSibling !== check.element) element.after(check.element); // moved, it would lose the focus
    check.plot();
  }

  /** Where cells are chosen, choose. @param {string} key @param {number} index */
  pin(key, index) {
    const [id] = this.ids({ grid: key, index }), { choose } = this.answer;
    if (!choose) super.pin(key, index);
    else if (id !== undefined) this.page.change({ cell: choose[id] });
  }

  /** @param {Grid} grid @param {number} index @param {string | null} letter */
  paint(grid, index, letter) {
    const { page } = this, { edit } = grid.data;
    const label = letter === null || letter === " " ? page.looks.brush : letter === "v" ? "255" : letter;
    if (!BRUSHES.slice(0, -1).some(([brush]) => brush === label)) return false;
    if (String(grid.value(index)) === label || !edit) return true;
    const place = grid.at(index).slice(1).join(".");
    const one = (/** @type {string | undefined} */ before) => ({ [edit]: withEdit(before, place, Number(label)) });
    const all = one(page.settings[edit]);
    page.change(answered(page.room, changed(page.settings, all)) ? all : one("")); // recorded: one at a time
    return true;
  }

  /** Where a kink lies between. @param {string} key @param {number} index */
  lookOf(key, index) {
    return this.answer.check && this.check.row.kinks[key.replace("check-", "")]?.includes(index) ? "kink" : "";
  }
}

ROOMS.learning = {
  title: "Learning",
  looks: {
    at: ["", /^(loss|norm)-[^.]+\.\d+$/], brush: ["255", /^(0|1|2|look)$/], eps: ["1e-6", /^1e-\d\d?$/],
    code: ["", /^\w+$/],
  },
  build(page, main) {
    const room = new Learning(page, main);
    return (answer) => room.draw(answer);
  },
};
