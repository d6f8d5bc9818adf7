"""Pooling layers and their inverse; the ops are in ``tinyfcn.functional``."""

from __future__ import annotations

from typing import Any

from tinyfcn import functional as F
from tinyfcn.functional.sizes import Pair, pair
from tinyfcn.nn.module import Module
from tinyfcn.nn.window import Window
from tinyfcn.tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d", "MaxUnpool2d"]


class MaxPool2d(Window):
    """Maximum of each window; see :func:`tinyfcn.functional.max_pool2d`.

    Args:
        kernel_size: size of the window.
        stride: its step; by default the kernel_size.
        padding: −∞ around the image, in pixels.
        dilation: distance between the elements of a window.
        return_indices: give (values, indices), where an index h · W + w tells the winner's place.
        ceil_mode: round the output size up, so that the last columns are never dropped.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> nn.MaxPool2d(2)(tinyfcn.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        Tensor([[[[4.]]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = pair("MaxPool2d", "dilation", dilation, minimum=1)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, C, H, W) → (N, C, OH, OW), or two of these with ``return_indices``."""
        window = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        if self.return_indices:
            return F.max_pool2d(x, *window, return_indices=True)
        return F.max_pool2d(x, *window)


class MaxUnpool2d(Window):
    """Put values back where a max pooling took them; see :func:`tinyfcn.functional.max_unpool2d`.

    Args:
        kernel_size, stride, padding: those of the pooling.
    """

    def forward(self, x: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """(N, C, H, W) and the indices of the pooling → (N, C, OH, OW).

        ``output_size`` is the size that went into the pooling, where the stride does not tell it.
        """
        return F.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool2d(Window):
    """Mean of each window; see :func:`tinyfcn.functional.avg_pool2d`.

    Args:
        kernel_size: size of the window.
        stride: its step; by default the kernel_size.
        padding: zeros around the image, in pixels.
        ceil_mode: round the output size up.
        count_include_pad: whether the padding counts in the divisor.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, OH, OW)."""
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class AdaptiveAvgPool2d(Module):
    """Means over as many windows as the output has pixels; see
    :func:`tinyfcn.functional.adaptive_avg_pool2d`.

    Args:
        output_size: OH, OW.
    """

    def __init__(self, output_size: int | Pair) -> None:
        self.output_size = pair("AdaptiveAvgPool2d", "output_size", output_size, minimum=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, OH, OW)."""
        return F.adaptive_avg_pool2d(x, self.output_size)
