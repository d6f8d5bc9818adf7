"""Grouped convolution as a few dense ones.

Narrow groups (a depthwise convolution has one channel each) starve a matrix product. Several are
merged into one dense convolution with a block-diagonal weight; multiplying its zeros costs less
than the narrowness did.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu.layout import Array

WIDTH = 16  # channels that a matrix product should have at least; twice as many are too many


class Groups(NamedTuple):
    """How the groups of a convolution are merged."""

    parts: int  # dense convolutions
    merged: int  # groups in each
    inputs: int  # channels of each group
    outputs: int

    def slices(self, part: int) -> tuple[slice, slice]:
        """The input and the output channels of one dense convolution."""
        ins, outs = self.merged * self.inputs, self.merged * self.outputs
        return slice(part * ins, (part + 1) * ins), slice(part * outs, (part + 1) * outs)

    def dense(self, weight: Array, part: int) -> Array:
        """The weight of one dense convolution, (merged·outputs, KH, KW, merged·inputs)."""
        _, outs = self.slices(part)
        if self.merged == 1:
            return weight[outs]
        _, kh, kw, c = weight.shape
        dense = np.zeros((self.merged * self.outputs, kh, kw, self.merged * c), weight.dtype)
        for rows, columns in self._blocks():
            dense[rows, :, :, columns] = weight[outs][rows]
        return dense

    def diagonal(self, dense: Array, out: Array) -> None:
        """The part of a dense weight gradient that belongs to the groups; adjoint of dense."""
        for rows, columns in self._blocks():
            out[rows] = dense[rows, :, :, columns]

    def _blocks(self) -> list[tuple[slice, slice]]:
        return [
            (
                slice(g * self.outputs, (g + 1) * self.outputs),
                slice(g * self.inputs, (g + 1) * self.inputs),
            )
            for g in range(self.merged)
        ]


def merge(inputs: int, outputs: int, groups: int) -> Groups:
    """Merge ``groups`` groups of so many channels until they are wide enough.

    Example:
        >>> merge(1, 1, groups=48)
        Groups(parts=3, merged=16, inputs=1, outputs=1)
        >>> merge(1, 1, groups=21)
        Groups(parts=1, merged=21, inputs=1, outputs=1)
        >>> merge(64, 64, groups=2)
        Groups(parts=2, merged=1, inputs=64, outputs=64)
    """
    fits = [m for m in range(1, groups + 1) if groups % m == 0 and m * inputs <= 2 * WIDTH] or [1]
    merged = next((m for m in fits if m * inputs >= WIDTH), fits[-1])
    return Groups(groups // merged, merged, inputs, outputs)
