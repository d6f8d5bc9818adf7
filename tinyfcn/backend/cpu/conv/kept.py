"""Kernels that are transformed once, while the weights stay as they are.

Training changes the weights at every step; in use a network has the same for ever, and to transform
its kernels takes a fifteenth of FCN-8s's time for an image. So from the third call with the same
weights on, what was made of them is kept, beside a copy of them, and used again if they still equal
the copy bit for bit. That costs a third of what it saves, but nobody has to say when weights
change, and no change is missed, whatever way it comes.

What is kept for an array is its copy and 16 / 9 as much; it goes when the array does, or when all
of it changes. ``TINYFCN_KEEP_KERNELS=0`` keeps nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable

import numpy as np

from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, split
from tinyfcn.backend.setting import Setting

keeping = Setting("TINYFCN_KEEP_KERNELS", ("1", "0"))

CALLS = 3  # with the same weights; recomputed layers see them twice in a step
SAMPLE = 64  # weights that tell whether the others are likely to be the same
OUTPUTS = 32  # whose kernels are compared at once


class Entry:
    """What is known of an array of weights."""

    kept: tuple[Array, Array] | None = None  # a copy of them, and what was made of it
    calls = 0

    def __init__(self, sample: bytes, owner: weakref.ref[Array]) -> None:
        self.sample, self.owner = sample, owner


class Kept:
    """``make``, a function of weights (OC, KH, KW, C) that need not be called again and again."""

    def __init__(self, make: Callable[[Array], Array]) -> None:
        self.make = make
        self.entries: dict[Hashable, Entry] = {}

    def __call__(self, weight: Array) -> Array:
        """make(weight), which nobody may write to."""
        if keeping() == "0" or not weight.flags.c_contiguous or not weight.size:
            return self.make(weight)
        key = weight.__array_interface__["data"], weight.shape, weight.dtype
        sample = weight.reshape(-1)[:: -(-weight.size // SAMPLE)].tobytes()
        entry = self.entries.get(key)
        if entry is None or entry.sample != sample:
            owner = weight
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            entry = Entry(sample, weakref.ref(owner, lambda _: self.entries.pop(key, None)))
            self.entries[key] = entry
        entry.calls += 1
        if entry.calls < CALLS:
            return self.make(weight)
        if entry.kept is None or not equal(weight, entry.kept[0]):
            copy = weight.copy()
            entry.kept = copy, self.make(copy)
        return entry.kept[1]


def equal(a: Array, b: Array) -> bool:
    """Whether two arrays have the same bits: −0 is not 0, and NaN is NaN."""
    a, b = a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}")
    pieces = split(len(a), OUTPUTS)
    return all(parallel_for(lambda piece: bool((a[piece] == b[piece]).all()), pieces))
