"""The convolution room: a convolution, its two gradients and its transpose are one relation.

Whatever is computed, the same triples (an element of x, one of w, one of y) are multiplied; each of
the three passes adds up over the two that it reads:

    into y    y[j] += x[i] · w[k]    the convolution, or the input gradient of its transpose
    into x    x[i] += y[j] · w[k]    the input gradient, or the transposed convolution
    into w    w[k] += x[i] · y[j]    the weight gradient of both

Settings bear the names of the convolution, also where it is transposed: ``x`` are the numbers on
its side (C, H, W), ``gy`` those on the other (OC, OH, OW).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.backend.base import conv_size
from tinyfcn.explorer.convolution_text import code, formulas, names
from tinyfcn.explorer.convolution_views import views
from tinyfcn.explorer.settings import (
    EDITS,
    Setting,
    State,
    changes,
    control,
    edited,
    plain,
    read,
)
from tinyfcn.functional.sizes import conv_transpose_size

Array = NDArray[Any]
LARGEST = 10  # of x, in pixels
WIDEST = LARGEST + 8  # of y, under a kernel of 1 and a padding of 4
SETTINGS = {
    "into": Setting("y", ("y", "x", "w")),
    "swapped": Setting("no", ("no", "yes")),
    **{name: Setting(6, range(1, LARGEST + 1)) for name in ("h", "w")},
    **{name: Setting(3, range(1, 6)) for name in ("kh", "kw")},
    **{name: Setting(1, range(1, 5)) for name in ("sh", "sw")},
    **{name: Setting(0, range(5)) for name in ("ph", "pw")},
    **{name: Setting(1, range(1, 4)) for name in ("dh", "dw")},
    **{name: Setting(1, range(1, 5)) for name in ("c", "oc", "groups")},
    "image": Setting("numbers", ("numbers", "scene 1", "scene 2", "scene 3")),
    "kernel": Setting("numbers", ("numbers", "edges", "mean")),
    "dtype": Setting("float32", ("float32", "float64")),
    "x": EDITS,
    "weight": EDITS,
    "gy": EDITS,
}
WINDOW = (("kernel", "k"), ("stride", "s"), ("padding", "p"), ("dilation", "d"))


def answer(given: Any) -> dict[str, Any]:
    """All that the page draws for an address.

    Raises:
        ValueError: in a sentence, if the address makes no sense.
    """
    state = read("convolution", SETTINGS, given)
    geometry = Geometry(state)
    x, w, gy = numbers(state, geometry)
    result, partial = compute(state, geometry, x, w, gy)
    relation = triples(geometry)
    return {
        "into": state["into"],
        "controls": controls(state, geometry),
        "grids": grids(state, geometry, {"x": x, "w": w, "y": gy, state["into"]: result}),
        "triples": relation.ravel().tolist(),
        "partial": plain(partial.reshape(len(partial), -1)),
        "formulas": formulas(state, geometry),
        "views": views(state, geometry, relation, x, w),
        "code": code(state, geometry, x, w, gy),
    }


class Geometry:
    """The sizes of a convolution, each as (height, width); ``extra`` is what the stride leaves over
    of x, which the transposed convolution adds as output padding.

    Raises:
        ValueError: where nothing comes out, or channels do not divide into groups.
    """

    def __init__(self, state: State) -> None:
        windows = [tuple(state[letter + a] for letter in ("", *"kspd")) for a in "hw"]
        c, oc, self.groups = state["c"], state["oc"], state["groups"]
        if c % self.groups or oc % self.groups:
            raise ValueError(
                f"convolution: c={c} and oc={oc} must divide into groups={self.groups}"
            )
        for name, (n, k, _, p, d) in zip(("height", "width"), windows, strict=True):
            if (span := d * (k - 1) + 1) > n + 2 * p:
                raise ValueError(
                    f"convolution: the kernel spans {span} pixels of {name}, but x has only "
                    f"{n + 2 * p} with padding {p}"
                )
        self.out = tuple(conv_size(*window) for window in windows)
        sizes = [conv_transpose_size(o, *w[1:], 0) for o, w in zip(self.out, windows, strict=True)]  # type: ignore[call-arg]
        self.size, self.kernel, self.stride, self.padding, self.dilation = zip(
            *windows, strict=True
        )
        self.extra = tuple(n - size for n, size in zip(self.size, sizes, strict=True))
        self.x, self.y = (c, *self.size), (oc, *self.out)
        self.w = (oc, c // self.groups, *self.kernel)
        self.padded = (c, *(n + 2 * p for n, p in zip(self.size, self.padding, strict=True)))


# ---- numbers ----


def numbers(state: State, geometry: Geometry) -> tuple[Array, Array, Array]:
    """x, w and gy, with what was changed by hand."""

    def drawn(seed: int, shape: tuple[int, ...], most: int, unit: float) -> Array:
        """Small numbers, none of them 0, that stay where they are when the shape grows."""
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, most + 1, (4, 4, WIDEST, WIDEST))
        signed = sizes * rng.choice([-1, 1, 1], sizes.shape) * unit
        return signed[(0,) * (4 - len(shape)) + tuple(map(slice, shape))]

    x = drawn(1, geometry.x, 9, 1)
    if state["image"] != "numbers":
        x = np.broadcast_to(scene(int(state["image"][-1]), geometry.size), geometry.x)
    w = drawn(2, geometry.w, 4, 0.5)
    if state["kernel"] == "mean":
        w = np.full(geometry.w, round(1 / prod(geometry.w[1:]), 3))
    elif state["kernel"] == "edges":  # what lies right of the middle, less what lies left of it
        w = np.broadcast_to(np.sign(np.arange(geometry.w[3]) - (geometry.w[3] - 1) / 2), geometry.w)
    found = zip((x, w, drawn(3, geometry.y, 5, 1)), ("x", "weight", "gy"), strict=True)
    x, w, gy = (edited(array, state[name]).astype(state["dtype"]) for array, name in found)
    return x, w, gy


def scene(number: int, size: tuple[int, int]) -> Array:
    """A small grey picture, 0 to 1: one of the project's own scenes."""
    from tinyfcn.data.scenes import SceneStyle, draw_scene

    style = SceneStyle(80, (1, 1), (54.0, 66.0), 0.0, 0.0, 1.0, (0, 0), 0.6, 0.0)
    image = draw_scene(np.random.default_rng(number), style).image.mean(2)[None, None]
    small = F.adaptive_avg_pool2d(tinyfcn.tensor(image), size).numpy()[0]
    return ((small - small.min()) / max(1, np.ptp(small))).round(2)


def compute(state: State, geometry: Geometry, x: Array, w: Array, gy: Array) -> tuple[Array, Array]:
    """The result of the pass, and what it is after each pixel of the input alone: (STEPS, …)."""
    g, into = geometry, state["into"]
    swapped = state["swapped"] == "yes"

    def run(x: Array, gy: Array) -> Array:
        a, weight, b = (tinyfcn.tensor(v, requires_grad=True) for v in (x[None], w, gy[None]))
        if swapped:  # reads what the convolution writes
            out = F.conv_transpose2d(b, weight, None, g.stride, g.padding, g.extra, g.groups,
                                     g.dilation)  # fmt: skip
        else:
            out = F.conv2d(a, weight, None, g.stride, g.padding, g.dilation, g.groups)
        if into == ("x" if swapped else "y"):
            return out.numpy()[0]
        out.backward(x[None] if swapped else gy[None])
        wanted = weight if into == "w" else b if swapped else a
        assert wanted.grad is not None
        return wanted.grad.numpy().reshape(w.shape if into == "w" else wanted.shape[1:])

    source = x if into == "y" else gy
    height, width = source.shape[1:]
    seen = np.arange(height * width).reshape(height, width)
    steps = [np.where(seen <= step, source, source.dtype.type(0)) for step in seen.flat]
    return run(x, gy), np.stack([run(s, gy) if into == "y" else run(x, s) for s in steps])


def triples(g: Geometry) -> NDArray[np.intp]:
    """Every multiplication as its elements of padded x, w and y, counted from 0: (T, 3), in the
    order of y.

    The engine itself tells: convolved with a kernel that is 1 at one tap and 0 elsewhere, an image
    that holds where it stands gives what stands under that tap.
    """
    taps = prod(g.w[1:])
    one = np.tile(np.eye(taps).reshape(taps, *g.w[1:]), (g.groups, 1, 1, 1))
    places = np.arange(prod(g.padded), dtype=np.float64).reshape(1, *g.padded)
    under = F.conv2d(tinyfcn.tensor(places), tinyfcn.tensor(one), None, g.stride, 0, g.dilation,
                     g.groups).numpy()  # fmt: skip
    under = np.rint(under).astype(np.intp).reshape(g.groups, 1, taps, -1)
    oc = g.y[0]
    x = np.repeat(under, oc // g.groups, 1).transpose(0, 1, 3, 2).reshape(oc, -1, taps)
    w = np.arange(oc * taps).reshape(oc, 1, taps)
    y = np.arange(prod(g.y)).reshape(oc, -1, 1)
    return np.stack(np.broadcast_arrays(x, w, y), -1).reshape(-1, 3)


# ---- what the page draws ----


def grids(state: State, g: Geometry, shown: dict[str, Array]) -> dict[str, Any]:
    """The three grids: planes of rows and columns, each plane with the start of its places."""
    made = {}
    for key, edit, leading in (("x", "x", g.x[:1]), ("w", "weight", g.w[:2]), ("y", "gy", g.y[:1])):
        named, places = names(state)[key], [[*map(str, place)] for place in np.ndindex(leading)]
        rows, columns = shown[key].shape[-2:]
        made[key] = {
            **named,
            "planes": [[f"{named['name']}[{', '.join(place)}]" if len(places) > 1 else "",
                        ".".join([*place, ""])] for place in places],
            "shape": shown[key].shape, "rows": rows, "columns": columns,
            "pad": g.padding if key == "x" else (0, 0),
            "values": plain(shown[key].ravel()), "edit": edit if key != state["into"] else None,
            "picture": key == "x" != state["into"] and state["image"] != "numbers",
        }  # fmt: skip
    return made


def controls(state: State, g: Geometry) -> list[dict[str, Any]]:
    """Sliders and choices, with the values that they may have where all others stay.

    Under a transposed convolution it is the size of its input that stays; its output follows.
    """
    swapped = state["swapped"] == "yes"

    def there(name: str, axis: int | None, value: Any) -> State | None:
        then = state | ({name: value} if name in SETTINGS else {})
        if swapped and axis is not None:
            a = "hw"[axis]
            k, s, p, d = (then[letter + a] for letter in "kspd")
            extra = value if name == "e" + a else min(g.extra[axis], s - 1)
            out = value if name == "o" + a else g.out[axis]
            then[a] = conv_transpose_size(out, k, s, p, d, extra)
        try:
            Geometry(then)
        except ValueError:
            return None
        return then if all(then[a] in SETTINGS[a].values for a in "hw") else None  # type: ignore[operator]

    def offer(
        name: str, row: str, axis: int | None = None, at: int | None = None, values: Any = None
    ) -> Any:
        label = [row] if axis is None else [row, ("height", "width")[axis]]
        return control(SETTINGS, state, name, label, values or SETTINGS[name].values or (),
                       lambda value: there(name, axis, value), at)  # fmt: skip

    found = [offer("into", "pass"), offer("swapped", "transposed")]
    for axis, a in enumerate("hw"):
        found += [offer("o" + a, "size of x", axis, g.out[axis], range(1, WIDEST + 1)) if swapped
                  else offer(a, "size of x", axis)]  # fmt: skip
        found += [offer(letter + a, row, axis) for row, letter in WINDOW]
        if swapped:
            extra = range(state["s" + a])
            found.append(offer("e" + a, "output padding", axis, g.extra[axis], extra))
    of_x, of_y = ("oc", "c") if swapped else ("c", "oc")
    found += [offer(of_x, "channels of x"), offer(of_y, "channels of y"), offer("groups", "groups")]
    given = [("image", "image", "x"), ("kernel", "weights", "w"), ("dtype", "dtype", "")]
    return found + [offer(name, row) for name, row, of in given if of != state["into"]]


def states() -> Iterator[dict[str, str | None]]:
    """What the static form records: whatever one control makes of the defaults, and squares of
    kernel, stride, padding and dilation, in all passes."""
    start = read("convolution", SETTINGS, {})
    windows = product((2, 3), (1, 2), (0, 1), (1, 2))
    squares = [
        {n + a: str(v) for n, v in zip("kspd", each, strict=True) for a in "hw"} for each in windows
    ]
    for swapped in ("no", "yes"):
        offered = [{}, *squares]
        for each in controls(start | {"swapped": swapped}, Geometry(start)):
            offered += [change for _, change in each["options"]]
        for change, into, way in product(offered, "yxw", {swapped, "yes"}):
            asked = {name: text for name, text in change.items() if text is not None}
            then = read("convolution", SETTINGS, asked) | {"into": into, "swapped": way}
            yield changes(SETTINGS, start, then)
