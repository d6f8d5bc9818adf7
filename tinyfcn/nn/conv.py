"""Convolution, transposed convolution and fully connected layers."""

from __future__ import annotations

import math

import numpy as np

from tinyfcn import backend
from tinyfcn import functional as F
from tinyfcn.functional.sizes import Pair, at_least_one, pair
from tinyfcn.nn import init
from tinyfcn.nn.module import Module, Parameter
from tinyfcn.nn.window import Window
from tinyfcn.tensor import Tensor

__all__ = ["Conv2d", "ConvTranspose2d", "Linear"]


class _Convolution(Window):
    """What both convolutions have: settings, checked, and weights, drawn from N(0, 2 / terms).

    That is He's rule for the number of terms that an output pixel sums, see ``init.py``.
    """

    transposed: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        layer = type(self).__name__
        at_least_one(layer, in_channels=in_channels, out_channels=out_channels, groups=groups)
        for name, n in {"in_channels": in_channels, "out_channels": out_channels}.items():
            if n % groups:
                raise ValueError(f"{layer}: {name} {n} does not divide into groups={groups}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.dilation = pair(layer, "dilation", dilation, minimum=1)
        first, second = out_channels, in_channels
        terms: float = in_channels // groups * math.prod(self.kernel_size)
        if self.transposed:
            first, second = in_channels, out_channels
            terms /= math.prod(self.stride)  # over so many pixels a kernel's elements are spread
        self.weight = _weight(first, second // groups, *self.kernel_size)
        self.bias = _bias(out_channels) if bias else None
        init.normal_(self.weight, std=math.sqrt(2.0 / max(1.0, terms)))


class Conv2d(_Convolution):
    """Convolution with a weight of its own; see :func:`tinyfcn.functional.conv2d`.

    Args:
        in_channels: channels of the input, C.
        out_channels: channels of the output, OC.
        kernel_size: KH, KW; here and below one number or (height, width).
        stride, padding, dilation: in pixels.
        groups: into how many independent parts the channels are cut.
        bias: whether to add a number per output channel.

    Attributes:
        weight: (OC, C / groups, KH, KW); He's normal distribution at first.
        bias: (OC,), zeros at first, or None.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        >>> layer(tinyfcn.tensor(np.zeros((1, 3, 9, 9), np.float32))).shape
        (1, 8, 5, 5)
    """

    transposed = False

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(N, C, H, W) → (N, OC, OH, OW); with ``relu`` max(that, 0)."""
        window = self.stride, self.padding, self.dilation, self.groups
        return F.conv2d(x, self.weight, self.bias, *window, relu=relu)


class ConvTranspose2d(_Convolution):
    """Transposed convolution ("deconvolution"); see :func:`tinyfcn.functional.conv_transpose2d`.

    Args:
        in_channels: channels of the input, C.
        out_channels: channels of the output, OC.
        kernel_size: KH, KW.
        stride, padding, dilation: in pixels of the output.
        output_padding: pixels added at the bottom and on the right.
        groups: into how many independent parts the channels are cut.
        bias: whether to add a number per output channel.

    Attributes:
        weight: (C, OC / groups, KH, KW); He's normal distribution at first, for the number of terms
            that an output pixel really sums, C / groups · KH · KW / (SH · SW).
            ``nn.init.bilinear_`` makes it interpolate.
        bias: (OC,), zeros at first, or None.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> layer = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
        >>> layer(tinyfcn.tensor(np.zeros((1, 8, 5, 5), np.float32))).shape
        (1, 3, 10, 10)
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
    ) -> None:
        window = kernel_size, stride, padding, dilation
        super().__init__(in_channels, out_channels, *window, groups, bias)
        self.output_padding = pair("ConvTranspose2d", "output_padding", output_padding, minimum=0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, OC, OH, OW)."""
        window = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return F.conv_transpose2d(x, self.weight, self.bias, *window)


class Linear(Module):
    """Fully connected layer, y = x Wᵀ + b; see :func:`tinyfcn.functional.linear`.

    Args:
        in_features, out_features: numbers of elements of an input and an output vector.
        bias: whether to add a number per output.

    Attributes:
        weight: (out_features, in_features); He's normal distribution at first.
        bias: (out_features,), zeros at first, or None.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> nn.Linear(4, 2)(tinyfcn.tensor(np.zeros((5, 4), np.float32))).shape
        (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        at_least_one("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = _weight(out_features, in_features)
        self.bias = _bias(out_features) if bias else None
        init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) → (N, out_features)."""
        return F.linear(x, self.weight, self.bias)


def _weight(*shape: int) -> Parameter:
    return Parameter(backend.active().empty(shape, np.float32))


def _bias(channels: int) -> Parameter:
    return Parameter(backend.active().zeros((channels,), np.float32))
