"""Where things are: how layers move coordinates, how far they look, how large their output is.

A convolution with stride s, padding p and a kernel that spans k pixels centres its output pixel i
on the input coordinate s·i − p + (k − 1) / 2. Turned around, what lies at x in the input lies at

    x / s + (p − (k − 1) / 2) / s          after a convolution or pooling,
    x · s + (k − 1) / 2 − p                after a transposed convolution,
    x                                      after a layer that works pixel by pixel,
    x − o                                  after a crop that starts at o.

All are a·x + b, and so is any chain of them. To add two score maps, or to lay scores over the
image, both must show the same place at the same pixel: the scales a must be equal, and cropping at
the difference of the shifts b makes the shifts equal too. That is where the published "crop 19"
(and 5, 9, 27, 31, 18) come from; with exact fractions there is nothing to round. The idea is that
of Caffe's ``coord_map.py`` (Shelhamer et al.).

A block with several branches (of ResNet, of GoogLeNet) names the one that sees most, in a method
``widest_path``; its branches move coordinates alike, or their results could not be joined.

Everything here is about one axis at a time: 0 is height, 1 is width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from tinyfcn import nn
from tinyfcn.backend.base import conv_size
from tinyfcn.functional.sizes import conv_transpose_size, pool_size

_PIXEL_BY_PIXEL = (
    nn.BatchNorm2d, nn.Dropout, nn.ELU, nn.Identity, nn.LeakyReLU, nn.LocalResponseNorm,
    nn.LogSoftmax, nn.PReLU, nn.ReLU, nn.Sigmoid, nn.Softmax, nn.Tanh,
)  # fmt: skip


class CoordinateMap(NamedTuple):
    """x ↦ scale · x + shift: where the place x of the image appears in a feature map.

    Example:
        >>> from tinyfcn import nn
        >>> coordinate_map([nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2)])
        CoordinateMap(scale=Fraction(1, 2), shift=Fraction(-1, 4))
    """

    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def then(self, after: CoordinateMap) -> CoordinateMap:
        """This map, and ``after`` applied to its result."""
        return CoordinateMap(after.scale * self.scale, after.scale * self.shift + after.shift)


IMAGE = CoordinateMap()


def coordinate_map(
    layers: Iterable[nn.Module], axis: int = 0, start: CoordinateMap = IMAGE
) -> CoordinateMap:
    """Follow coordinates through ``layers``, from where ``start`` has brought them."""
    for layer in _flat(layers):
        k, s, p = _span(layer, axis), layer.stride[axis], layer.padding[axis]
        centre = Fraction(k - 1, 2)
        if isinstance(layer, nn.ConvTranspose2d):
            start = start.then(CoordinateMap(Fraction(s), centre - p))
        else:
            start = start.then(CoordinateMap(Fraction(1, s), (p - centre) / s))
    return start


def crop_offset(larger: CoordinateMap, smaller: CoordinateMap) -> int:
    """At which pixel of ``larger`` a crop must start to lie exactly over ``smaller``.

    Raises:
        ValueError: if no crop can do it: the scales differ, or the offset is not a whole number of
            at least 0.

    Example:
        >>> crop_offset(CoordinateMap(Fraction(1, 16), Fraction(183, 32)),
        ...             CoordinateMap(Fraction(1, 16), Fraction(23, 32)))
        5
    """
    offset = larger.shift - smaller.shift
    if larger.scale != smaller.scale:
        raise ValueError(
            f"crop_offset: the maps have different scales, {larger.scale} and {smaller.scale}"
        )
    if offset.denominator != 1 or offset < 0:
        raise ValueError(
            f"crop_offset: a crop must start at a whole pixel of at least 0, but the maps are "
            f"{offset} apart"
        )
    return int(offset)


def receptive_field(layers: Iterable[nn.Module], axis: int = 0) -> tuple[int, int]:
    """(size, stride): how many input pixels one output pixel sees, and how far apart the windows of
    neighbouring output pixels are, in input pixels.

    Layer (k, s) after layers that see K with stride S sees K + (k − 1)·S with stride S·s.

    Source: Long, Shelhamer, Darrell (2015), section 3.

    Example:
        >>> from tinyfcn import nn
        >>> receptive_field([nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)])
        (8, 2)
    """
    size, stride = 1, 1
    for layer in _flat(layers):
        if isinstance(layer, nn.ConvTranspose2d):
            raise TypeError(f"receptive_field: not defined for an enlarging layer, {layer!r}")
        size += (_span(layer, axis) - 1) * stride
        stride *= layer.stride[axis]
    return size, stride


def output_size(layers: Iterable[nn.Module], n: int, axis: int = 0) -> int:
    """Size of the output of ``layers`` for an input of size ``n``, without computing it.

    Example:
        >>> from tinyfcn import nn
        >>> output_size([nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True)], 5)
        3
    """
    for layer in _flat(layers):
        k, s, p, d = (
            getattr(layer, name, (1, 1))[axis]
            for name in ("kernel_size", "stride", "padding", "dilation")
        )
        if isinstance(layer, nn.ConvTranspose2d):
            n = conv_transpose_size(n, k, s, p, d, layer.output_padding[axis])
        elif isinstance(layer, nn.Conv2d):
            n = conv_size(n, k, s, p, d)
        else:
            n = pool_size(n, k, s, p, d, layer.ceil_mode)
    return n


def _flat(layers: Iterable[nn.Module]) -> Iterator[Any]:
    """The layers that move coordinates, in order; those that work pixel by pixel are left out."""
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        elif hasattr(layer, "widest_path"):  # a block; its other branches keep the same centres
            yield from _flat(layer.widest_path())
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d | nn.AvgPool2d):
            yield layer
        elif not isinstance(layer, _PIXEL_BY_PIXEL):
            raise TypeError(f"geometry: how {type(layer).__name__} moves coordinates is not known")


def _span(layer: Any, axis: int) -> int:
    """Pixels from the first to the last element of the kernel."""
    dilation: int = getattr(layer, "dilation", (1, 1))[axis]
    return dilation * (int(layer.kernel_size[axis]) - 1) + 1
