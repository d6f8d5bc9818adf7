"""What the upsampling room says in words, formulas and code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.explorer.settings import State, plain

Array = NDArray[Any]
# Of each way: what it does forward, and what it passes back to a pooled cell.
NOTES = {
    "unpool": ("Each value goes back to where it was found; all else is 0.",
               "Gathering by index: a cell gets what stands where its value was put."),
    "nails": ("Each value stands at the top left of its block, whoever won. It has no output_size.",
              "A cell gets what stands at the top left of its block; the rest is lost."),
    "nearest": ("Each value is repeated over its block.", "A cell gets the sum over its block."),
    "bilinear": ("Each pixel mixes its two neighbours along each axis, by their distance.",
                 "A cell gets the sum over all that it was mixed into, by the same weights."),
    "transposed": ("Each value times w is laid down, a stride apart; what overlaps is added up.",
                   "A cell gets a convolution of gu with the same kernel, stride and padding."),
}  # fmt: skip
EVEN = (
    "A constant map should come out constant. Where a kernel is no multiple of the stride, its "
    "copies overlap here more often than there: a checkerboard, before anything is learned. Where "
    "it is a multiple, each pixel is reached as often; random weights still differ by phase. "
    "Bilinear weights of 2·stride, or 2·stride \u2212 1, sum to 1 away from the border."
)


def note(name: str, state: State, g: Any, indices: Array, failed: bool) -> str:
    """What a way does, and where a wrong size leads max unpooling."""
    text = NOTES[name][state["pass"] == "gradient"]
    if name != "unpool" or state["pass"] == "gradient":
        return text
    if failed:
        return f"The indices reach beyond this plane: output_size={g.size} is needed."
    if state["size"] == "default" and g.default[1] != g.size[1]:
        return (
            f"The indices count in rows of {g.size[1]} pixels, but here a row has {g.default[1]}: "
            f"all below the first row land elsewhere. output_size={g.size} restores it."
        )
    if len(np.unique(indices)) < indices.size:
        text += " What several windows found in one place is added up; PyTorch keeps one of them."
    if g.default == g.size:
        return f"{text} The default output_size is right, too."
    return f"{text} Without output_size the plane would be {g.default[0]} x {g.default[1]}."


def formulas(state: State, g: Any) -> dict[str, Any]:
    """The size after pooling and back along both axes."""
    axes = []
    window = zip(g.size, g.kernel, g.stride, g.padding, g.out, g.default, strict=True)
    for name, (n, k, s, p, out, back) in zip(("height", "width"), window, strict=True):
        many = f"{back} to {back + s - 1} are all" if s > 1 else f"only {back} is"
        lines = [f"pooled: ⌊({n} + 2·{p} - {k}) / {s}⌋ + 1 = {out}",
                 f"unpooled: ({out} - 1)·{s} - 2·{p} + {k} = {back}",
                 f"{many} pooled to {out}; x has {n}"]  # fmt: skip
        short = f"{n} → {out} → {n if state['size'] == 'of x' else back}"
        if state["size"] == "default" and n > back:
            short += (
                f", {n - back} {('row', 'column')[name == 'width']}{'s' * (n - back > 1)} short"
            )
        axes.append([name, [line.replace("-", "\u2212") for line in lines], short])
    rule = "OH = ⌊(H + 2·PH - KH) / SH⌋ + 1; back: (OH - 1)·SH - 2·PH + KH"
    return {"rule": rule.replace("-", "\u2212"), "axes": axes}


def evenness(g: Any, inside: dict[str, Array]) -> dict[str, Any]:
    """Whether every pixel is reached by as many kernels, in words and numbers; ``inside`` are sums
    of weights away from the border."""
    facts = []
    for name, t, s in zip(("height", "width"), g.taps, g.stride, strict=True):
        kind = f"is no multiple of {s}, uneven: inside, {t // s} or {t // s + 1}"
        if t % s == 0:
            kind = f"= {t // s}·{s}, even: inside, {t // s}"
        facts.append([name, f"kernel {t} {kind} along this axis"])
    if facts[0][1] == facts[1][1]:
        facts = [["height and width", facts[0][1].replace("this", "each")]]
    for name, sums in inside.items():
        low, high = (f"{v:.3g}".replace("-", "\u2212") for v in (sums.min(), sums.max()))
        facts.append(
            [f"Σ {name}, inside", f"{low} {'everywhere' if low == high else f'to {high}'}"]
        )
    for s in sorted(set(g.stride)):
        facts.append([f"even for stride {s}", f"kernels of {', '.join(map(str, range(s, 9, s)))}"])
    return {"note": EVEN, "facts": facts}


def code(
    state: State, g: Any, arrays: dict[str, Array], ways: list[dict[str, Any]]
) -> dict[str, str]:
    """Programs that print the numbers of the grids."""
    of = {"tinyfcn": ("tinyfcn", "tinyfcn.functional"), "PyTorch": ("torch", "torch.nn.functional")}
    return {name: _program(*names, state, g, arrays, ways) for name, names in of.items()}


def _program(
    library: str, functional: str, state: State, g: Any, arrays: dict[str, Array],
    ways: list[dict[str, Any]],
) -> str:  # fmt: skip
    torch, backward = library == "torch", state["pass"] == "gradient"

    def tensor(values: Any, *shape: int, more: str = "") -> str:
        return f"{library}.tensor({plain(np.reshape(values, (1, 1, *shape)))}{more})"

    def shown(name: str, of: str, gradient: str) -> str:
        grad = "torch.autograd.grad" if torch else "tinyfcn.grad"
        return f"print({grad}({name}, {of}, {gradient}, retain_graph=True)[0])"

    x, w, gy = (arrays[name] for name in ("x", "w", "gy"))
    lines = [
        f"import {library}", f"import {functional} as F", "",
        f"x = {tensor(x, *x.shape, more=', requires_grad=True' if backward else '')}",
        f"w = {tensor(w, *w.shape)}",
        f"y, indices = F.max_pool2d(x, {g.kernel}, {g.stride}, {g.padding}, return_indices=True)",
        shown("y", "x", tensor(gy, *gy.shape)) if backward else "print(y, indices)",
    ]  # fmt: skip
    for way in ways:
        call = (torch and way["torch"]) or way["call"]
        lines += ["", f"# {way['title']}{': ' * bool(way['problem'])}{way['problem']}"]
        if not way["problem"]:
            gu = way["grid"]
            back = shown("u", "y", tensor(gu["values"], gu["rows"], gu["columns"]))
            lines += [f"u = F.{call}", back if backward else "print(u)"]
    return "\n".join([*lines, ""])
