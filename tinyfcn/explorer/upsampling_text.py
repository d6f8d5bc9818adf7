"""What the upsampling room says in words, formulas and code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.explorer.grids import minus, number, program
from tinyfcn.explorer.settings import State, plain
from tinyfcn.explorer.upsampling_ways import Way

Array = NDArray[Any]
EVEN = (
    "A constant map should come out constant. Where a kernel is no multiple of the stride, its "
    "copies overlap here more often than there: a checkerboard, before anything is learned. Where "
    "it is a multiple, each pixel is reached as often; random weights still differ by phase. "
    "Bilinear weights of 2·stride, or 2·stride \u2212 1, sum to 1 away from the border."
)


def note(way: Way, state: State, g: Any, indices: Array, failed: bool) -> str:
    """What a way does, and where a wrong size leads max unpooling."""
    text = way.forward if state["pass"] == "forward" else way.back
    if way.name != "unpool" or state["pass"] == "gradient":
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


def formulas(state: State, g: Any) -> list[list[str]]:
    """The size after pooling and back along both axes."""
    facts = []
    window = zip(g.size, g.kernel, g.stride, g.padding, g.out, g.default, strict=True)
    for (name, part), (n, k, s, p, out, back) in zip(
        (("height", "row"), ("width", "column")), window, strict=True
    ):
        restored, lost = state["size"] == "of x", n - back
        facts.append([
            name, f"pooled: ⌊({n} + 2·{p} - {k}) / {s}⌋ + 1 = {out}",
            f"unpooled: ({out} - 1)·{s} - 2·{p} + {k} = {back}",
            f"{f'{back} to {back + s - 1} are all' if s > 1 else f'only {back} is'} pooled to "
            f"{out}; x has {n}",
            f"{n} → {out} → {n if restored else back}"
            + f", {lost} {part}{'s' * (lost > 1)} short" * (not restored and lost > 0),
        ])  # fmt: skip
    return [[*map(minus, fact)] for fact in facts]


def evenness(g: Any, inside: dict[str, Array]) -> list[list[str]]:
    """Whether every pixel is reached by as many kernels; ``inside`` are sums of weights away from
    the border."""
    facts = []
    for name, t, s in zip(("height", "width"), g.taps, g.stride, strict=True):
        kind = f"is no multiple of {s}, uneven: inside, {t // s} or {t // s + 1}"
        if t % s == 0:
            kind = f"= {t // s}·{s}, even: inside, {t // s}"
        facts.append([name, f"kernel {t} {kind} along this axis"])
    if facts[0][1] == facts[1][1]:
        facts = [["height and width", facts[0][1].replace("this", "each")]]
    for name, sums in inside.items():
        low, high = number(sums.min(), 3), number(sums.max(), 3)
        facts.append(
            [f"Σ {name}, inside", f"{low} {'everywhere' if low == high else f'to {high}'}"]
        )
    return facts


# ---- of single cells: x[1, 2] and what it has to do with others ----


def at(name: str, place: int, columns: int, pad: tuple[int, ...] = (0, 0)) -> str:
    """A cell as in code, from its number in reading order."""
    row, column = divmod(place, columns)
    return f"{name}[{row - pad[0]}, {column - pad[1]}]"


def summed(parts: Sequence[tuple[str, float]], between: str = " + ") -> str:
    """``y[0, 0] + y[0, 1] · 0.25``."""
    weights = ((name, f" · {number(weight)}" if weight != 1 else "") for name, weight in parts)
    return between.join(name + weight for name, weight in weights)


def of_x(inside: bool, windows: int, wins: Sequence[str], backward: bool) -> str:
    """What is to be said of an input, which ``windows`` see and that wins some of them."""
    padding = "" if inside else "Padding, which never wins. "
    if not windows:
        return f"{padding}No window reaches it."
    won = ", ".join(wins) or "none" + ", so no gradient comes" * backward
    return f"{padding}In {windows} window{'s' * (windows > 1)}, wins {won}."


def of_cell(winner: str, index: int, equal: Sequence[str], backward: bool) -> str:
    """What is to be said of a pooled cell; ``equal`` are others of its window that are as large."""
    text = f"It is {winner}, the largest of its window, index {index}."
    if backward:
        text = f"It goes to {winner}, which won; the others of the window get nothing."
    if equal:
        text += (f" A tie: {len(equal) + 1} are as large, and the first in reading order wins, "
                 f"not {', '.join(equal)}.")  # fmt: skip
    return text


def code(
    state: State, g: Any, arrays: dict[str, Array], found: Sequence[tuple[Way, Any]]
) -> dict[str, str]:
    """Programs that print the numbers of the grids."""
    backward = state["pass"] == "gradient"

    def tensor(values: Array, more: str = "") -> str:
        return f"{{0}}.tensor({plain(values[None, None])}{more})"

    def shown(name: str, of: str, gradient: Array) -> tuple[str, str]:
        line = f"grad({name}, {of}, {tensor(gradient)}, retain_graph=True)[0])"
        return f"print(tinyfcn.{line}", f"print(torch.autograd.{line}"

    lines: list[str | tuple[str, str]] = [
        f"x = {tensor(arrays['x'], ', requires_grad=True' * backward)}",
        f"w = {tensor(arrays['w'])}",
        f"y, indices = F.max_pool2d(x, {g.kernel}, {g.stride}, {g.padding}, return_indices=True)",
        shown("y", "x", arrays["gy"]) if backward else "print(y, indices)",
    ]
    for way, made in found:
        lines += ["", f"# {way.title}{': ' * bool(made.problem)}{made.problem}"]
        if made.u is None:
            continue
        theirs = way.torch or f"F.{way.call()}"
        if way.name == "unpool" and len({at for _, at, _ in made.links}) < len(made.links):
            h, w = made.u.shape  # PyTorch would keep one of several
            theirs = f"torch.zeros(1, 1, {h * w}).scatter_add(2, indices.flatten(2), y.flatten(2))"
            theirs += f".view(1, 1, {h}, {w})"
        lines += [(f"u = F.{way.call()}", f"u = {theirs}"),
                  shown("u", "y", made.gu) if backward else "print(u)"]  # fmt: skip
    return program(lines)
