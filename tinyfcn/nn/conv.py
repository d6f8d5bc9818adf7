"""Convolution, transposed convolution and fully connected layers.

In memory a weight (OC, C / G, KH, KW) lies as (OC, KH, KW, C / G), beside images whose channels lie
together; see ``tinyfcn.backend.cpu.layout``.
"""

from __future__ import annotations

import math

import numpy as np

from tinyfcn import backend
from tinyfcn import functional as F
from tinyfcn.functional.sizes import Pair, pair
from tinyfcn.nn import init
from tinyfcn.nn.module import Module, Parameter
from tinyfcn.tensor import Tensor


class Conv2d(Module):
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
        _check_channels("Conv2d", in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, minimum=1)
        self.stride = pair("Conv2d", "stride", stride, minimum=1)
        self.padding = pair("Conv2d", "padding", padding, minimum=0)
        self.dilation = pair("Conv2d", "dilation", dilation, minimum=1)
        self.weight = _weight(out_channels, in_channels // groups, self.kernel_size)
        self.bias = _bias(out_channels) if bias else None
        init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(N, C, H, W) → (N, OC, OH, OW); with ``relu`` max(that, 0)."""
        window = self.stride, self.padding, self.dilation, self.groups
        return F.conv2d(x, self.weight, self.bias, *window, relu=relu)

    def extra_repr(self) -> str:
        return _conv_repr(self)


class ConvTranspose2d(Module):
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
        _check_channels("ConvTranspose2d", in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("ConvTranspose2d", "kernel_size", kernel_size, minimum=1)
        self.stride = pair("ConvTranspose2d", "stride", stride, minimum=1)
        self.padding = pair("ConvTranspose2d", "padding", padding, minimum=0)
        self.output_padding = pair("ConvTranspose2d", "output_padding", output_padding, minimum=0)
        self.dilation = pair("ConvTranspose2d", "dilation", dilation, minimum=1)
        self.weight = _weight(in_channels, out_channels // groups, self.kernel_size)
        self.bias = _bias(out_channels) if bias else None
        terms = in_channels // groups * math.prod(self.kernel_size) / math.prod(self.stride)
        init.normal_(self.weight, std=math.sqrt(2.0 / max(1.0, terms)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, OC, OH, OW)."""
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding,
            self.output_padding, self.groups, self.dilation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return _conv_repr(self)


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
        for name, n in (("in_features", in_features), ("out_features", out_features)):
            if n < 1:
                raise ValueError(f"Linear: {name} must be at least 1, got {n}")
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(
            backend.active().as_array(np.empty((out_features, in_features), np.float32))
        )
        self.bias = _bias(out_features) if bias else None
        init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) → (N, out_features)."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + _no_bias(self)


def _weight(out_channels: int, in_channels: int, kernel: Pair) -> Parameter:
    memory = np.empty((out_channels, *kernel, in_channels), np.float32)
    return Parameter(backend.active().as_array(memory).transpose(0, 3, 1, 2))


def _bias(channels: int) -> Parameter:
    return Parameter(backend.active().as_array(np.zeros(channels, np.float32)))


def _check_channels(layer: str, in_channels: int, out_channels: int, groups: int) -> None:
    numbers = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups}
    for name, n in numbers.items():
        if n < 1:
            raise ValueError(f"{layer}: {name} must be at least 1, got {n}")
        if n % groups:
            raise ValueError(f"{layer}: {name} {n} does not divide into groups={groups}")


def _no_bias(layer: Conv2d | ConvTranspose2d | Linear) -> str:
    return "" if layer.bias is not None else ", bias=False"


def _conv_repr(layer: Conv2d | ConvTranspose2d) -> str:
    """What differs from the defaults, as one would write it."""
    text = f"{layer.in_channels}, {layer.out_channels}, kernel_size={layer.kernel_size}"
    defaults = {
        "stride": (1, 1),
        "padding": (0, 0),
        "output_padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
    }
    for name, default in defaults.items():
        if getattr(layer, name, default) != default:
            text += f", {name}={getattr(layer, name)}"
    return text + _no_bias(layer)
