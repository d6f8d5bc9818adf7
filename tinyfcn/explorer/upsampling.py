"""The upsampling room: max pooling, and five ways from the pooled map back to a larger one.

    x (H, W)  →  y, indices (OH, OW)  →  u, one for each way

Each way is linear, so it is a matrix: its row for a pooled cell is what it makes of a map that is 1
there and 0 elsewhere. The page links cells by these rows; gradients go back along them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer import upsampling_text as text
from tinyfcn.explorer.grids import grid, group
from tinyfcn.explorer.settings import EDITS, Setting, State, changes, control, edited, read
from tinyfcn.explorer.upsampling_ways import Way, ways
from tinyfcn.functional.sizes import conv_transpose_size, pool_size
from tinyfcn.nn.init import bilinear_kernel

Array = NDArray[Any]
LARGEST = 10  # of x, in pixels
SETTINGS = {
    "pass": Setting("forward", ("forward", "gradient")),
    **{name: Setting(6, range(1, LARGEST + 1)) for name in ("h", "w")},
    **{name: Setting(2, range(1, 5)) for name in ("kh", "kw", "sh", "sw")},
    **{name: Setting(0, range(3)) for name in ("ph", "pw")},
    "size": Setting("of x", ("of x", "default")),
    **{name: Setting(4, range(1, 9)) for name in ("th", "tw")},
    **{name: Setting(1, range(5)) for name in ("qh", "qw")},
    "weights": Setting("bilinear", ("bilinear", "random")),
    **dict.fromkeys(("x", "weight", "gy", "gu"), EDITS),
}
ROWS = (("size of x", ""), ("kernel", "k"), ("stride", "s"), ("padding", "p"),
        ("transposed: kernel", "t"), ("transposed: padding", "q"))  # fmt: skip
TIE = {"x": "1.1:6"}  # in the first window
FIRST = 1000  # the cells of x are numbered from here on, those of each way from the next multiples


def answer(given: Any) -> dict[str, Any]:
    """All that the page draws for an address.

    Raises:
        ValueError: in a sentence, if the address makes no sense.
    """
    state = read("upsampling", SETTINGS, given)
    g = Geometry(state)
    x, kernels = numbers(state, g)
    w = kernels[state["weights"]]
    leaf = tinyfcn.tensor(x[None, None], requires_grad=True)
    y, indices = F.max_pool2d(leaf, g.kernel, g.stride, g.padding, return_indices=True)
    gy = edited(np.ones(g.out), state["gy"]).astype(np.float32)
    (gx,) = tinyfcn.grad(y, leaf, gy[None, None])
    arrays = {"y": y.detach(), "indices": indices, "w": tinyfcn.tensor(w[None, None])}
    found = [(way, upsampled(way, arrays, state)) for way in ways(state, g)]
    pooled = Pooled(g, x, y.numpy()[0, 0], indices.numpy()[0, 0], gy, gx.numpy()[0, 0])
    near = links(pooled, found)
    offered = {each["name"]: each for each in controls(state)}
    laid = [offered.pop(name) for name in ("th", "tw", "qh", "qw", "weights")]
    return {
        "controls": [*offered.values()], "near": near, "facts": text.formulas(state, g),
        "groups": [
            pooling(state["pass"] == "gradient", g, pooled, near),
            *(of_way(k, *each, state, g, pooled, w) for k, each in enumerate(found)),
            {**overlap(g, kernels), "controls": laid},
        ],
        "actions": tie(g, pooled) if state["pass"] == "forward" else [],
        "code": text.code(state, g, {"x": x, "w": w, "gy": gy}, found),
    }  # fmt: skip


class Geometry:
    """The sizes of pooling and of the transposed convolution, each as (height, width).

    ``default`` is what unpooling makes without ``output_size``, ``made`` what the transposed
    convolution makes with ``extra`` output padding; ``fits`` says whether all of them exist.
    """

    def __init__(self, state: State) -> None:
        axes = [tuple(state[letter + a] for _, letter in ROWS) for a in "hw"]
        self.size, self.kernel, self.stride, self.padding, self.taps, self.crop = zip(
            *axes, strict=True
        )
        sizes = []
        for n, k, s, p, t, q in axes:
            out = pool_size(n, k, s, p, 1, False)
            least = conv_transpose_size(out, t, s, q, 1, 0)
            extra = min(max(n - least, 0), s - 1) if state["size"] == "of x" else 0
            sizes.append((out, conv_transpose_size(out, k, s, p, 1, 0), extra, least + extra))
        self.out, self.default, self.extra, self.made = zip(*sizes, strict=True)
        halves = all(p <= k // 2 for k, p in zip(self.kernel, self.padding, strict=True))
        self.fits = halves and min(*self.out, *self.made) > 0


def numbers(state: State, g: Geometry) -> tuple[Array, dict[str, Array]]:
    """x, and both kernels of the transposed convolution, with what was changed by hand."""
    x = np.random.default_rng(54).integers(1, 10, (LARGEST, LARGEST))[: g.size[0], : g.size[1]]
    drawn = np.random.default_rng(2).normal(0.3, 0.4, (8, 8)).round(2)
    kernels = {"bilinear": np.outer(*map(bilinear_kernel, g.taps)),
               "random": drawn[: g.taps[0], : g.taps[1]]}  # fmt: skip
    kernels[state["weights"]] = edited(kernels[state["weights"]], state["weight"])
    return edited(x, state["x"]).astype(np.float32), {
        name: np.array(kernel, np.float32) for name, kernel in kernels.items()
    }


class Pooled:
    """Pooling both ways, and for each pooled cell its window, all that are as large as its winner,
    and its winner, as numbers of cells of padded x."""

    def __init__(
        self, g: Geometry, x: Array, y: Array, indices: Array, gy: Array, gx: Array
    ) -> None:
        self.x, self.y, self.indices, self.gy, self.gx = x, y, indices, gy, gx
        border = [(p, p) for p in g.padding]
        self.places = np.pad(np.arange(x.size).reshape(x.shape), border, constant_values=-1)

        def under(image: Array) -> Array:
            seen = sliding_window_view(image, g.kernel)[:: g.stride[0], :: g.stride[1]]
            return seen.reshape(y.size, -1)

        cells = under(np.arange(self.places.size).reshape(self.places.shape))
        equal = under(np.pad(x, border, constant_values=-np.inf)) == y.reshape(-1, 1)
        self.windows = cells.tolist()
        self.equals = [c[e].tolist() for c, e in zip(cells, equal, strict=True)]
        self.winners = np.flatnonzero(self.places >= 0)[indices.ravel()].tolist()


class Made(NamedTuple):
    """What a way makes of y, a gradient of that and what it passes back, and its matrix as (cell,
    place, weight); or why it makes nothing."""

    links: list[tuple[int, int, float]]
    u: Array | None = None
    gu: Array | None = None
    back: Array | None = None
    problem: str = ""


def upsampled(way: Way, arrays: dict[str, tinyfcn.Tensor], state: State) -> Made:
    """A way there, and back."""
    leaf, indices = tinyfcn.tensor(arrays["y"].numpy(), requires_grad=True), arrays["indices"].data
    try:
        u = way.run({**arrays, "y": leaf})
    except ValueError as error:
        if way.name != "unpool":  # whose indices may reach beyond a plane of the default size
            raise
        return Made([], problem=str(error))
    cells = leaf.data.size
    ones = np.eye(cells, dtype=np.float32).reshape(cells, 1, *leaf.shape[2:])
    many = {"y": tinyfcn.tensor(ones), "indices": tinyfcn.tensor(np.repeat(indices, cells, 0))}
    matrix = way.run({**arrays, **many}).numpy().reshape(cells, -1)
    p, at = np.nonzero(matrix)
    gu = edited(np.ones(u.shape[2:]), state["gu"]).astype(np.float32)
    (back,) = tinyfcn.grad(u, leaf, gu[None, None])
    links = [*zip(p.tolist(), at.tolist(), matrix[p, at].tolist(), strict=True)]
    return Made(links, u.numpy()[0, 0], gu, back.numpy()[0, 0])


# ---- what the page draws ----


def links(pooled: Pooled, found: list[tuple[Way, Made]]) -> dict[int, list[int]]:
    """What is lit with each cell: a pooled one with its window and all that is made of it."""
    near: dict[int, list[int]] = {}

    def link(p: int, cell: int, *more: int) -> None:
        near.setdefault(p, []).append(cell)
        near.setdefault(cell, []).extend((p, *more))

    for p, window in enumerate(pooled.windows):
        for cell in window:
            link(p, FIRST + cell)
    for k, (_, made) in enumerate(found, 2):
        for p, place, _ in made.links:
            link(p, k * FIRST + place, FIRST + pooled.winners[p])
    return near


def pooling(backward: bool, g: Geometry, of: Pooled, near: dict[int, list[int]]) -> dict[str, Any]:
    """Max pooling, or its gradient."""
    columns = of.places.shape[1]
    x = [text.at("gx" if backward else "x", q, columns, g.padding) for q in range(of.places.size)]
    y = [text.at("gy" if backward else "y", p, g.out[1]) for p in range(of.y.size)]
    wins = [[y[p] for p, won in enumerate(of.winners) if won == q] for q in range(len(x))]
    windows = [near.get(FIRST + q, []) for q in range(len(x))]
    inputs: dict[str, Any] = {
        "key": "x", "pad": g.padding, "ids": FIRST, "narrow": True,
        "looks": ["winner" if won else "" if seen else "unseen"
                  for won, seen in zip(wins, windows, strict=True)],
        "words": [text.of_x(bool(place >= 0), sum(p < FIRST for p in seen), won, backward)
                  for place, seen, won in zip(of.places.flat, windows, wins, strict=True)],
    }  # fmt: skip
    words = [
        text.of_cell(x[won], index, [x[q] for q in same if q != won], backward)
        for won, index, same in zip(of.winners, of.indices.ravel(), of.equals, strict=True)
    ]
    outputs: dict[str, Any] = {"words": words, "narrow": True}
    indices = grid("indices", f"h · {g.size[1]} + w", "i", of.indices, **outputs)
    if backward:
        grids = [grid("gy", "output gradient", "y", of.gy, edit="gy", **outputs, key="y"), indices,
                 grid("gx", "input gradient", "x", of.gx, **inputs)]  # fmt: skip
        return group("gx = max_unpool2d(gy, indices): winners get the gradient", grids)
    return group("y, indices = max_pool2d(x): winners have a ring", [
        grid("x", "input", "x", of.x, edit="x", outside="\u2212∞", **inputs),
        grid("y", "output", "y", of.y, **outputs), indices,
    ])  # fmt: skip


def of_way(
    k: int, way: Way, made: Made, state: State, g: Geometry, pooled: Pooled, w: Array
) -> dict[str, Any]:
    """A way, with its line of code and what it does."""
    about = {"code": way.call(), "problem": made.problem, "beside": True,
             "note": text.note(way, state, g, pooled.indices, made.u is None)}  # fmt: skip
    if made.u is None or made.gu is None or made.back is None:
        return group(way.title, [], **about)
    backward, narrow = state["pass"] == "gradient", way.name in ("unpool", "nails", "nearest")
    y, u = ("gy", "gu") if backward else ("y", "u")
    of_u: list[Any] = [[] for _ in range(made.u.size)]
    of_y: list[Any] = [[] for _ in range(pooled.y.size)]
    for p, place, weight in made.links:
        of_u[place].append((text.at(y, p, g.out[1]), weight))
        of_y[p].append((text.at(u, place, made.u.shape[1]), weight))
    words = ["= " + text.summed(each) if each else "Nothing reaches it." for each in of_u]
    if backward:
        words = [f"It is passed back to {text.summed(each, ', ') or 'no cell'}." for each in of_u]
    shown: dict[str, Any] = {
        "key": way.name, "ids": (k + 2) * FIRST, "words": words, "narrow": narrow,
        "looks": ["" if each else "unseen" for each in of_u],
    }  # fmt: skip
    grids = [grid("gu", "", "x", made.gu, edit="gu", **shown) if backward
             else grid("u", "", "x", made.u, shaded=True, **shown)]  # fmt: skip
    if backward:
        words = ["= " + text.summed(each) if each else "Nothing comes back." for each in of_y]
        grids.append(grid("gy", "passed back", "y", made.back, shaded=True, words=words,
                          key=f"{way.name}-back", narrow=narrow))  # fmt: skip
    if way.name == "transposed":
        grids.append(grid("w", f"{state['weights']} weights", "w", w, edit="weight", shaded=True,
                          key="kernel", ids=[[]] * w.size))  # fmt: skip
    return group(way.title, grids, **about)


def overlap(g: Geometry, kernels: dict[str, Array]) -> dict[str, Any]:
    """How many kernels, and which sum of their weights, reach each pixel of the transposed
    convolution: what it makes of ones."""

    def reached(kernel: Array, size: Any, crop: Any = 0, extra: Any = 0) -> Array:
        one = tinyfcn.tensor(np.ones((1, 1, *size), np.float32))
        weight = tinyfcn.tensor(kernel[None, None])
        return F.conv_transpose2d(one, weight, None, g.stride, crop, extra).numpy()[0, 0]

    inner = tuple(slice(t - 1, 8 * s + 1) for t, s in zip(g.taps, g.stride, strict=True))
    inside = {name: reached(kernel, (9, 9))[inner] for name, kernel in kernels.items()}
    ones = ("count", "kernels", "that reach a pixel", "i", np.ones(g.taps, np.float32))
    sums = [(name, "Σ w", f"{name} weights", "y", w) for name, w in kernels.items()]
    grids = [
        grid(title, what, tone, reached(w, g.out, g.crop, g.extra), shaded=True,
             key=f"map-{name}", ids=6 * FIRST, narrow=name == "count")
        for name, title, what, tone, w in (ones, *sums)
    ]  # fmt: skip
    facts = text.evenness(g, inside)
    return group("Overlap of the transposed convolution", grids, note=text.EVEN, facts=facts)


def tie(g: Geometry, of: Pooled) -> list[Any]:
    """What makes a tie in the first window: a title, the setting with a place and a number, and
    where to look."""
    others = [q for q in of.windows[0] if of.places.flat[q] >= 0 and q not in of.equals[0]]
    row, column = divmod(int(of.places.flat[max(others)]), g.size[1]) if others else (0, 0)
    edit = "x", f"{row}.{column}", float(of.y[0, 0])
    return [["Make a tie", *edit, "y.0"]] if others else []


def controls(state: State) -> list[dict[str, Any]]:
    """Sliders and choices, with the values that they may have where all others stay."""

    def offer(name: str, *label: str) -> dict[str, Any]:
        def there(value: Any) -> State | None:
            then = {**state, name: value}
            return then if Geometry(then).fits else None

        return control(SETTINGS, state, name, label, there=there)

    pairs = [
        offer(letter + axis[0], row, axis) for row, letter in ROWS for axis in ("height", "width")
    ]
    return [offer("pass", "pass"), *pairs[:8], offer("size", "output_size"), *pairs[8:],
            offer("weights", "weights")]  # fmt: skip


def states() -> Iterator[dict[str, str | None]]:
    """What the static form records: whatever one control makes of the defaults, squares, and a tie,
    both ways, of both sizes and with both kinds of weights."""
    start = read("upsampling", SETTINGS, {})
    offered: list[dict[str, str | None]] = [{}]
    offered += [change for each in controls(start) for _, change in each["options"]]
    for n, (k, s), (t, q) in product((5, 6, 7), ((2, 2), (3, 2)), ((2, 0), (3, 1), (4, 1))):
        values = zip(("", *"kstq"), (n, k, s, t, q), strict=True)
        offered.append({letter + a: str(v) for letter, v in values for a in "hw"})
    choices = [SETTINGS[name].values or () for name in ("pass", "size", "weights")]
    for change, *chosen in product(offered, *choices):
        asked = {name: text for name, text in change.items() if text is not None}
        then = read("upsampling", SETTINGS, asked)
        then |= zip(("pass", "size", "weights"), chosen, strict=True)
        if Geometry(then).fits:
            yield changes(SETTINGS, start, then)
            if not change:
                yield {**changes(SETTINGS, start, then), **TIE}
