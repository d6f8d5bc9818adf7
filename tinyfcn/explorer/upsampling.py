"""The upsampling room: max pooling, and five ways from the pooled map back to a larger one.

    x (H, W)  →  y, indices (OH, OW)  →  u, one for each way

Each way is linear, so it is a matrix: its row for a pooled cell is what it makes of a map that is 1
there and 0 elsewhere. The page links cells by these rows; gradients go back along them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer.settings import EDITS, Setting, State, changes, control, edited, plain, read
from tinyfcn.explorer.upsampling_text import code, evenness, formulas, note
from tinyfcn.explorer.upsampling_ways import Way, run, ways
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


def answer(given: Any) -> dict[str, Any]:
    """All that the page draws for an address.

    Raises:
        ValueError: in a sentence, if the address makes no sense.
    """
    state = read("upsampling", SETTINGS, given)
    g, forward = Geometry(state), state["pass"] == "forward"
    x, kernels = numbers(state, g)
    leaf = tinyfcn.tensor(x[None, None], requires_grad=True)
    y, indices = F.max_pool2d(leaf, g.kernel, g.stride, g.padding, return_indices=True)
    gy = edited(np.ones(g.out), state["gy"]).astype(np.float32)
    gx = tinyfcn.grad(y, leaf, gy[None, None])[0].numpy()[0, 0]
    w = kernels[state["weights"]]
    arrays = {"y": y.detach(), "indices": indices, "w": tinyfcn.tensor(w[None, None])}
    found = [upsampled(way, arrays, state, g) for way in ways(state, g)]
    return {
        "pass": state["pass"],
        "controls": controls(state),
        "x": grid("x", "input", x, "x", g.padding, "\u2212∞") if forward
        else grid("gx", "input gradient", gx, None, g.padding),
        "y": grid("y", "output", y.numpy()[0, 0]) if forward
        else grid("gy", "output gradient", gy, "gy"),
        "indices": grid("indices", f"h · {g.size[1]} + w", indices.numpy()[0, 0]),
        "pooled": plain(y.numpy().ravel()),
        **windows(g, x, y.numpy().reshape(-1, 1), indices.numpy().ravel()),
        "kernel": grid("w", f"{state['weights']} weights", w, "weight"),
        "ways": found,
        "overlap": overlap(g, kernels),
        "formulas": formulas(state, g),
        "code": code(state, g, {"x": x, "w": w, "gy": gy}, found),
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


def windows(g: Geometry, x: Array, y: Array, indices: Array) -> dict[str, Any]:
    """For each pooled cell its window, its winner and all that are as large, in padded x."""
    border = [(p, p) for p in g.padding]
    places = np.pad(np.arange(x.size).reshape(x.shape), border, constant_values=-1)

    def under(image: Array) -> Array:
        seen = sliding_window_view(image, g.kernel)[:: g.stride[0], :: g.stride[1]]
        return seen.reshape(y.size, -1)

    cells = under(np.arange(places.size).reshape(places.shape))
    equal = under(np.pad(x, border, constant_values=-np.inf)) == y
    winners = np.flatnonzero(places >= 0)[indices]
    return {"windows": cells.tolist(), "winners": winners.tolist(),
            "equals": [c[e].tolist() for c, e in zip(cells, equal, strict=True)]}  # fmt: skip


def upsampled(
    way: Way, arrays: dict[str, tinyfcn.Tensor], state: State, g: Geometry
) -> dict[str, Any]:
    """What a way makes of y, or what it passes back, and its matrix as (cell, place, weight)."""
    leaf, indices = tinyfcn.tensor(arrays["y"].numpy(), requires_grad=True), arrays["indices"].data
    about: dict[str, Any] = {
        "name": way.name, "title": way.title, "call": way.call(), "torch": way.torch,
        "problem": "", "grid": None, "back": None, "links": [],
    }  # fmt: skip
    try:
        u = run(way, {**arrays, "y": leaf})
    except ValueError as error:
        if way.name != "unpool":  # whose indices may reach beyond a plane of the default size
            raise
        return about | {"problem": str(error), "note": note(way.name, state, g, indices, True)}
    cells = leaf.data.size
    ones = np.eye(cells, dtype=np.float32).reshape(cells, 1, *g.out)
    many = {"y": tinyfcn.tensor(ones), "indices": tinyfcn.tensor(np.repeat(indices, cells, 0))}
    matrix = run(way, {**arrays, **many}).numpy().reshape(cells, -1)
    p, at = np.nonzero(matrix)
    about |= {"links": [p.tolist(), at.tolist(), plain(matrix[p, at])],
              "note": note(way.name, state, g, indices, False)}  # fmt: skip
    if state["pass"] == "forward":
        return about | {"grid": grid("u", "", u.numpy()[0, 0])}
    gu = edited(np.ones(u.shape[2:]), state["gu"]).astype(np.float32)
    (gy,) = tinyfcn.grad(u, leaf, gu[None, None])
    back = grid("gy", "passed back", gy.numpy()[0, 0])
    return about | {"grid": grid("gu", "", gu, "gu"), "back": back}


def overlap(g: Geometry, kernels: dict[str, Array]) -> dict[str, Any]:
    """How many kernels, and which sum of their weights, reach each pixel of the transposed
    convolution: what it makes of ones."""

    def reached(
        kernel: Array, size: Any = g.out, crop: Any = g.crop, extra: Any = g.extra
    ) -> Array:
        one = tinyfcn.tensor(np.ones((1, 1, *size), np.float32))
        weight = tinyfcn.tensor(kernel[None, None])
        return F.conv_transpose2d(one, weight, None, g.stride, crop, extra).numpy()[0, 0]

    grids = {name: grid("Σ w", f"{name} weights", reached(w)) for name, w in kernels.items()}
    count = reached(np.ones(g.taps, np.float32))
    inner = tuple(slice(t - 1, 8 * s + 1) for t, s in zip(g.taps, g.stride, strict=True))
    inside = {name: reached(kernel, (9, 9), 0, 0)[inner] for name, kernel in kernels.items()}
    grids = {"count": grid("kernels", "that reach a pixel", count), **grids}
    return {"grids": grids, **evenness(g, inside)}


# ---- what the page draws ----


def grid(name: str, what: str, values: Array, edit: str | None = None,
         pad: tuple[int, ...] = (0, 0), outside: str = "0") -> dict[str, Any]:  # fmt: skip
    """A grid of one plane."""
    rows, columns = values.shape
    return {"name": name, "what": what, "planes": [["", ""]], "shape": values.shape,
            "rows": rows, "columns": columns, "pad": pad, "outside": outside, "edit": edit,
            "values": plain(values.ravel())}  # fmt: skip


def controls(state: State) -> list[dict[str, Any]]:
    """Sliders and choices, with the values that they may have where all others stay."""

    def offer(name: str, *label: str) -> dict[str, Any]:
        def there(value: Any) -> State | None:
            then = {**state, name: value}
            return then if Geometry(then).fits else None

        return control(SETTINGS, state, name, label, SETTINGS[name].values or (), there)

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
    for n, (k, s), t, q in product((5, 6, 7), ((2, 2), (3, 2)), (2, 3, 4), (0, 1)):
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
