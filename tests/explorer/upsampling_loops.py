"""Max pooling and the ways back in plain loops, along both axes at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Pair = tuple[int, int]


def pairs(state: Mapping[str, str]) -> dict[str, Pair]:
    """Height and width of each setting."""
    return {
        letter: (int(state[f"{letter}h"]), int(state[f"{letter}w"])) for letter in ("", *"kstpq")
    }


def fits(state: Mapping[str, str]) -> bool:
    """Whether there is a window, none of padding alone, and a transposed convolution."""
    of = pairs(state)
    for n, k, s, p, t, q in zip(*(of[name] for name in ("", "k", "s", "p", "t", "q")), strict=True):
        out = (n + 2 * p - k) // s + 1
        least = (out - 1) * s - 2 * q + t
        extra = min(max(n - least, 0), s - 1) if state["size"] == "of x" else 0
        if out < 1 or p > k // 2 or least + extra < 1:
            return False
    return True


def windows(state: Mapping[str, str]) -> dict[Pair, list[Pair]]:
    """The pixels of x, without padding, that each pooled cell sees, in reading order."""
    of = pairs(state)
    (h, w), (kh, kw), (sh, sw), (ph, pw) = of[""], of["k"], of["s"], of["p"]
    oh, ow = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    return {
        (i, j): [
            (r, c)
            for r in range(i * sh - ph, i * sh - ph + kh)
            for c in range(j * sw - pw, j * sw - pw + kw)
            if 0 <= r < h and 0 <= c < w
        ]
        for i in range(oh)
        for j in range(ow)
    }


def winners(state: Mapping[str, str], x: np.ndarray) -> dict[Pair, Pair]:
    """Where the maximum of each window stands; the first of equal ones."""
    return {
        cell: min(seen, key=lambda place: (-x[place], place))
        for cell, seen in windows(state).items()
    }


def ways(
    state: Mapping[str, str], found: Mapping[Pair, Pair], w: np.ndarray
) -> dict[str, tuple[Pair, dict[tuple[Pair, Pair], float]] | None]:
    """Each way as its size, and (pooled cell, pixel) → weight; None where it fails."""
    of = pairs(state)
    (height, width), strides, window = of[""], of["s"], (of["k"], of["s"], of["p"])
    out = tuple(1 + max(cell[a] for cell in found) for a in (0, 1))
    restored = state["size"] == "of x"
    blocks = tuple(n * s for n, s in zip(out, strides, strict=True))
    free = (height, width) if restored else blocks
    plane = free if restored else tuple(
        (n - 1) * s - 2 * p + k for n, k, s, p in zip(out, *window, strict=True)
    )  # fmt: skip
    flat = {cell: r * width + c for cell, (r, c) in found.items()}
    fails = min(plane) < 1 or max(flat.values()) >= plane[0] * plane[1]
    unpool = {(cell, divmod(at, plane[1])): 1.0 for cell, at in flat.items()} if not fails else {}
    nails = {((i, j), (i * strides[0], j * strides[1])): 1.0 for i, j in found}
    nearest, bilinear, made = {}, {}, {}
    for r in range(free[0]):
        for c in range(free[1]):
            nearest[(r * out[0] // free[0], c * out[1] // free[1]), (r, c)] = 1.0
            for i, a in _between(r, out[0], free[0]):
                for j, b in _between(c, out[1], free[1]):
                    bilinear[(i, j), (r, c)] = bilinear.get(((i, j), (r, c)), 0) + a * b
    size = []
    for n, whole, t, s, q in zip(out, of[""], of["t"], strides, of["q"], strict=True):
        least = (n - 1) * s - 2 * q + t
        size.append(least + (min(max(whole - least, 0), s - 1) if restored else 0))
    for i, j in found:
        for (a, b), weight in np.ndenumerate(w):
            r, c = i * strides[0] - of["q"][0] + a, j * strides[1] - of["q"][1] + b
            if 0 <= r < size[0] and 0 <= c < size[1]:
                made[(i, j), (r, c)] = float(weight)
    return {
        "unpool": None if fails else (plane, unpool), "nails": (blocks, nails),
        "nearest": (free, nearest), "bilinear": (free, bilinear), "transposed": (tuple(size), made),
    }  # fmt: skip


def _between(at: int, n: int, size: int) -> list[tuple[int, float]]:
    """The neighbours of an output pixel, and their weights."""
    position = max(0.0, (at + 0.5) * n / size - 0.5)
    first = min(math.floor(position), n - 1)
    part = position - first
    return [(first, 1 - part), (min(first + 1, n - 1), part)]


def applied(
    links: Mapping[tuple[Pair, Pair], float], size: Pair, y: Mapping[Pair, float]
) -> np.ndarray:
    """What a way makes of a map."""
    total = np.zeros(size)
    for (cell, place), weight in links.items():
        total[place] += y[cell] * weight
    return total
