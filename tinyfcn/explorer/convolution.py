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
from tinyfcn.explorer.grids import grid
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
    "axes": Setting("apart", ("apart", "together")),
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
    partial = compute(state, geometry, x, w, gy)
    relation = triples(geometry)
    return {
        "into": state["into"],
        "controls": controls(state, geometry),
        "grids": grids(state, geometry, {"x": x, "w": w, "y": gy, state["into"]: partial[-1]}),
        "triples": relation.ravel().tolist(),
        "partial": plain(partial.reshape(len(partial), -1)),
        "facts": formulas(state, geometry),
        **views(state, geometry, relation, x, w),
        "code": code(state, geometry, x, w, gy),
    }


class Geometry:
    """The sizes of a convolution, each as (height, width); ``extra`` is what the stride leaves over
    of x, which the transposed convolution adds as output padding.

    Raises:
        ValueError: where nothing comes out, channels do not divide into groups, or height and
            width are together and differ.
    """

    def __init__(self, state: State) -> None:
        windows = [tuple(state[letter + a] for letter in ("", *"kspd")) for a in "hw"]
        c, oc, self.groups = state["c"], state["oc"], state["groups"]
        if c % self.groups or oc % self.groups:
            raise ValueError(
                f"convolution: c={c} and oc={oc} must divide into groups={self.groups}"
            )
        if state["axes"] == "together" and windows[0] != windows[1]:
            raise ValueError("convolution: axes=together needs equal sizes of height and width")
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


def compute(state: State, g: Geometry, x: Array, w: Array, gy: Array) -> Array:
    """The result of the pass after each pixel of its input, all in one batch: (STEPS, ...)."""
    into, swapped = state["into"], state["swapped"] == "yes"
    source = x if into == "y" else gy
    count = prod(source.shape[1:])
    seen = np.tri(count, dtype=source.dtype).reshape(count, 1, *source.shape[1:])
    steps = source * seen  # (STEPS, C, H, W)
    if into == "w":  # which is summed over a batch: so steps are output channels of each group
        steps = steps.reshape(count, g.groups, -1, *g.out).swapaxes(0, 1).reshape(1, -1, *g.out)
        w = np.zeros((steps.shape[1], *g.w[1:]), w.dtype)
    arrays = {"x": x[None], "w": w, "y": gy[None], "x" if into == "y" else "y": steps}
    if into != "w":
        arrays[into] = np.broadcast_to(arrays[into], (count, *arrays[into].shape[1:]))
    of = {key: tinyfcn.tensor(array, requires_grad=True) for key, array in arrays.items()}
    if swapped:  # reads what the convolution writes
        out = F.conv_transpose2d(of["y"], of["w"], None, g.stride, g.padding, g.extra, g.groups,
                                 g.dilation)  # fmt: skip
    else:
        out = F.conv2d(of["x"], of["w"], None, g.stride, g.padding, g.dilation, g.groups)
    if into == ("x" if swapped else "y"):
        return out.numpy()
    found = tinyfcn.grad(out, of[into], arrays["x" if swapped else "y"])[0].numpy()
    if into == "w":
        found = found.reshape(g.groups, count, -1, *g.w[1:]).swapaxes(0, 1).reshape(count, *g.w)
    return found


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
    """The three grids; what is changed by hand are those that the pass reads."""
    into, made = state["into"], {}
    for key, edit in (("x", "x"), ("w", "weight"), ("y", "gy")):
        made[key] = grid(
            *names(state)[key], key, shown[key], edit=None if key == into else edit, ids=0,
            pad=g.padding if key == "x" else (0, 0),
            picture=key == "x" != into and state["image"] != "numbers",
        )  # fmt: skip
    return made


def controls(state: State, g: Geometry) -> list[dict[str, Any]]:
    """Sliders and choices, with the values that they may have where all others stay.

    Under a transposed convolution it is the size of its input that stays; its output follows.
    """
    swapped, high = state["swapped"] == "yes", {n + "w": state[n + "h"] for n in ("", *"kspd")}
    together = state["axes"] == "together"

    def sized(letter: str, axes: str, value: Any) -> State | None:
        then = state | ({letter + a: value for a in axes} if letter not in ("o", "e") else {})
        for a in axes if swapped else "":
            k, s, p, d = (then[each + a] for each in "kspd")
            extra = value if letter == "e" else min(g.extra["hw".index(a)], s - 1)
            out = value if letter == "o" else g.out["hw".index(a)]
            then[a] = conv_transpose_size(out, k, s, p, d, extra)
        return valid(then)

    def slider(letter: str, row: str, axes: str, at: Any = None, values: Any = None) -> Any:
        label = [row] if together else [row, {"h": "height", "w": "width"}[axes]]
        return control(SETTINGS, state, letter + axes[0], label, values,
                       lambda value: sized(letter, axes, value), at)  # fmt: skip

    def choice(name: str, label: str) -> Any:
        return control(SETTINGS, state, name, [label], there=lambda value: valid(
            state | {name: value} | (high if value == "together" else {})))  # fmt: skip

    first = ("into", "pass"), ("swapped", "transposed"), ("axes", "height, width")
    found = [choice(*each) for each in first]
    for axes in ("hw",) if together else ("h", "w"):
        out, extra = (each["hw".index(axes[0])] for each in (g.out, g.extra))
        found += [slider("o", "size of x", axes, out, range(1, WIDEST + 1)) if swapped
                  else slider("", "size of x", axes)]  # fmt: skip
        found += [slider(letter, row, axes) for row, letter in WINDOW]
        if swapped:
            rest = range(state["s" + axes[0]])
            found.append(slider("e", "output padding", axes, extra, rest))
    of_x, of_y = ("oc", "c") if swapped else ("c", "oc")
    last = [(of_x, "channels of x"), (of_y, "channels of y"), ("groups", "groups")]
    given = ("image", "image", "x"), ("kernel", "weights", "w"), ("dtype", "dtype", "")
    last += [(name, row) for name, row, of in given if of != state["into"]]
    return found + [choice(*each) for each in last]


def valid(state: State) -> State | None:
    """The state, if there is such a convolution and x has room on the page."""
    try:
        Geometry(state)
    except ValueError:
        return None
    return state if all(0 < state[a] <= LARGEST for a in "hw") else None


def states() -> Iterator[dict[str, str | None]]:
    """What the static form records, in all passes: whatever one control makes of the defaults; with
    height and width together, kernel x stride x padding x dilation for an x of 6 pixels and for
    a y of 4, and images x weights; apart, a few kernels, strides and paddings of either; channels
    x groups."""
    start = read("convolution", SETTINGS, {})
    found = [
        start | dict(zip(("c", "oc", "groups"), each, strict=True))
        for each in product((1, 2, 4), repeat=3)
    ]
    for swapped, axes in product(("no", "yes"), ("apart", "together")):
        for each in controls(start | {"swapped": swapped, "axes": axes}, Geometry(start)):
            for _, change in each["options"]:
                text = {name: value for name, value in change.items() if value}
                found.append(read("convolution", SETTINGS, {"axes": axes, **text}))

    def square(**window: int) -> State:
        pairs = {letter.strip("n") + a: value for letter, value in window.items() for a in "hw"}
        return {**start, "axes": "together", **pairs}

    for k, s, p, d in product(range(1, 6), (1, 2, 3), (0, 1, 2), (1, 2)):
        of_y = 3 * s - 2 * p + d * (k - 1) + 1
        found += [square(n=n, k=k, s=s, p=p, d=d) for n in {6, of_y}]
    for windows in product(product((2, 3), (1, 2), (0, 1)), repeat=2):
        both = zip("hw", windows, strict=True)
        found.append(start | {n + a: v for a, w in both for n, v in zip("ksp", w, strict=True)})
    images, kernels = (SETTINGS[name].values or () for name in ("image", "kernel"))
    shapes = (6, 1, 0), (6, 1, 1), (6, 2, 0), (6, 2, 1), (LARGEST, 1, 0)
    for image, kernel, (n, s, p) in product(images, kernels, shapes):
        found.append(square(n=n, s=s, p=p) | {"image": image, "kernel": kernel})
    for each, into, swapped in product(found, "yxw", ("no", "yes")):
        if then := valid(each | {"into": into, "swapped": swapped}):
            yield changes(SETTINGS, start, then)
