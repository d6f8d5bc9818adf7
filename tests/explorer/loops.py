"""A convolution in plain loops: what it multiplies, and the sums of its three passes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

Place = tuple[int, ...]


def met(state: Mapping[str, object]) -> list[tuple[Place, Place, Place]]:
    """What is multiplied, by loops: places in padded x, in w, in y."""
    (h, w), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (
        (int(state[letter + "h"]), int(state[letter + "w"])) for letter in ("", "k", "s", "p", "d")
    )
    c, oc, groups = (int(state[name]) for name in ("c", "oc", "groups"))
    found = []
    for o in range(oc):
        first = o // (oc // groups) * (c // groups)
        for i in range(0, h + 2 * ph - dh * (kh - 1), sh):
            for j in range(0, w + 2 * pw - dw * (kw - 1), sw):
                for tap in itertools.product(range(c // groups), range(kh), range(kw)):
                    x = first + tap[0], i + tap[1] * dh, j + tap[2] * dw
                    found.append((x, (o, *tap), (o, i // sh, j // sw)))
    return found


def summed(
    into: str, x: np.ndarray, w: np.ndarray, y: np.ndarray, triples: Iterable[tuple[Place, ...]]
) -> np.ndarray:
    """One pass, product by product; x is padded, and what is written is read for its shape."""
    arrays, at = (x, w, y), "xwy".index(into)
    total = np.zeros(arrays[at].shape)
    one, other = (i for i in range(3) if i != at)
    for triple in triples:
        total[triple[at]] += arrays[one][triple[one]] * arrays[other][triple[other]]
    return total
