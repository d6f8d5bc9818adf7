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

The layers are not looked at but run, without values, and the centres of receptive fields are
followed through them (``tinyfcn/receptive_field.py``).

Everything here is about one axis at a time: 0 is height, 1 is width.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from tinyfcn import nn
from tinyfcn.functional.sizes import Pair
from tinyfcn.receptive_field import Field
from tinyfcn.receptive_field_rules import Fields, ReceptiveFields
from tinyfcn.without_values import empty_images, without_values

SIDE = 640  # of an image on which all layers of the networks here fit


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
    return start.then(coordinates(_field(layers, axis), axis))


def coordinates(field: Field, axis: int) -> CoordinateMap:
    """How the receptive fields of a map (N, C, H, W) are centred."""
    if not isinstance(field.centre, Fraction):
        raise TypeError("geometry: layers that meet here are centred on different places")
    step = field.steps[2 + axis]
    return CoordinateMap(1 / step, -field.centre / step)


def crop_offset(larger: CoordinateMap, smaller: CoordinateMap) -> int:
    """At which pixel of ``larger`` a crop must start to lie exactly over ``smaller``.

    Raises:
        ValueError: if no crop can do it: the scales differ, or the offset is not an integer of
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


def crop_offsets(larger: Fields, smaller: Fields) -> Pair:
    """The same for the receptive fields of two maps (N, C, H, W): (row, column)."""
    rows, columns = (
        crop_offset(coordinates(a, axis), coordinates(b, axis))
        for axis, (a, b) in enumerate(zip(larger, smaller, strict=True))
    )
    return rows, columns


def receptive_field(layers: Iterable[nn.Module], axis: int = 0) -> tuple[int, int | Fraction]:
    """(size, stride): on how many input pixels one output pixel depends at most, and how far apart
    the windows of neighbouring output pixels are, in input pixels.

    A layer (k, s) after layers of field K and stride S has field K + (k − 1)·S and stride S·s.

    Source: Long, Shelhamer, Darrell (2015), section 3.

    Example:
        >>> from tinyfcn import nn
        >>> receptive_field([nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)])
        (8, 2)
    """
    field = _field(layers, axis)
    step = field.steps[2 + axis]
    return int(field.size()), int(step) if step.denominator == 1 else step


def output_size(layers: Iterable[nn.Module], n: int, axis: int = 0) -> int:
    """Size of the output of ``layers`` for an input of size ``n``, without computing it.

    Example:
        >>> from tinyfcn import nn
        >>> output_size([nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True)], 5)
        3
    """
    size = (n, SIDE) if axis == 0 else (SIDE, n)
    return _run(layers, size)[0][2 + axis]


def _field(layers: Iterable[nn.Module], axis: int) -> Field:
    """The receptive fields of what the layers give."""
    field = _run(layers, (SIDE, SIDE))[1][axis]
    if len(field.axes) != 4 or not field.is_bounded or not field.steps[2 + axis]:
        raise TypeError("geometry: what these layers give is no map of a part of the image each")
    return field


def _run(layers: Iterable[nn.Module], size: Pair) -> tuple[tuple[int, ...], Fields]:
    """The shape and the receptive fields of what the layers make of an image of a size."""
    model = nn.Sequential(*layers)
    channels = next((m.in_channels for m in model.modules() if hasattr(m, "in_channels")), 1)
    images = empty_images(model, (1, channels, *size))
    with without_values(model), ReceptiveFields(images) as fields:
        y = model(images)
        return y.shape, fields.of(y)
