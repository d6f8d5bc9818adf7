"""Pooling layers and their inverse; the ops are in ``tinyfcn.functional``."""

from __future__ import annotations

from typing import Any

from tinyfcn import functional as F
from tinyfcn.functional.sizes import Pair, pair
from tinyfcn.nn.module import Module
from tinyfcn.tensor import Tensor


class MaxPool2d(Module):
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
        self.kernel_size, self.stride, self.padding = _window(self, kernel_size, stride, padding)
        self.dilation = pair("MaxPool2d", "dilation", dilation, minimum=1)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, C, H, W) → (N, C, OH, OW), or two of these with ``return_indices``."""
        window = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        if self.return_indices:
            return F.max_pool2d(x, *window, return_indices=True)
        return F.max_pool2d(x, *window)

    def extra_repr(self) -> str:
        return _window_repr(self, dilation=(1, 1), return_indices=False, ceil_mode=False)


class MaxUnpool2d(Module):
    """Put values back where a max pooling took them; see :func:`tinyfcn.functional.max_unpool2d`.

    Args:
        kernel_size, stride, padding: those of the pooling.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
    ) -> None:
        self.kernel_size, self.stride, self.padding = _window(self, kernel_size, stride, padding)

    def forward(self, x: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """(N, C, H, W) and the indices of the pooling → (N, C, OH, OW).

        ``output_size`` is the size that went into the pooling, where the stride does not tell it.
        """
        return F.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return _window_repr(self)


class AvgPool2d(Module):
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
        self.kernel_size, self.stride, self.padding = _window(self, kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, OH, OW)."""
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return _window_repr(self, ceil_mode=False, count_include_pad=True)


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

    def extra_repr(self) -> str:
        return f"{self.output_size}"


def _window(layer: Module, kernel_size: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Pair]:
    name = type(layer).__name__
    kernel = pair(name, "kernel_size", kernel_size, minimum=1)
    step = kernel if stride is None else pair(name, "stride", stride, minimum=1)
    return kernel, step, pair(name, "padding", padding, minimum=0)


def _window_repr(layer: Any, **defaults: Any) -> str:
    text = f"kernel_size={layer.kernel_size}, stride={layer.stride}"
    for name, default in {"padding": (0, 0), **defaults}.items():
        if getattr(layer, name) != default:
            text += f", {name}={getattr(layer, name)}"
    return text
