"""The window of convolution and pooling layers: its size, step and border."""

from __future__ import annotations

from tinyfcn.functional.sizes import Pair, pair
from tinyfcn.nn.module import Module


class Window(Module):
    """Base class of the layers that slide a window over an image.

    Args:
        kernel_size: its size; here and below one number or (height, width).
        stride: its step; by default the kernel_size.
        padding: pixels around the image.
    """

    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
    ) -> None:
        layer = type(self).__name__
        self.kernel_size = pair(layer, "kernel_size", kernel_size, minimum=1)
        self.stride = self.kernel_size if stride is None else pair(layer, "stride", stride, 1)
        self.padding = pair(layer, "padding", padding, minimum=0)
