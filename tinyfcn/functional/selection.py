"""Masks: what they leave out becomes 0, whatever it was.

A product with 0 and 1 would make NaN of ∞. So the bits are multiplied, as integers, which is as
fast; ``where`` of NumPy takes ten times as long.
"""

from __future__ import annotations

from tinyfcn.function import Elementwise


class Select(Elementwise):
    """x where the mask is true, else 0: linear, and its own adjoint. The mask broadcasts to x."""

    def forward(self, x, mask):
        self.save_for_backward(mask)
        return (x.view(f"i{x.dtype.itemsize}") * mask).view(x.dtype)

    def backward(self, gy):
        (mask,) = self.saved_tensors
        return Select()(gy, mask), None
