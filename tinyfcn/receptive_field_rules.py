"""What each op does to receptive fields: a table of rules over the calls that a hook sees.

An op that works element by element needs no rule, only the base class ``Elementwise``. Of what an
op without a rule gives, the fields are unknown. ``receptive_field.py`` says what a field is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tinyfcn.backend.meta import MetaArray, has_values
from tinyfcn.function import Elementwise, Function, Hook
from tinyfcn.functional import resampling
from tinyfcn.functional.activation import LogSoftmax, Softmax
from tinyfcn.functional.arithmetic import MatMul
from tinyfcn.functional.conv import Conv2d, Conv2dInputGrad
from tinyfcn.functional.loss import CrossEntropy, TakeClass
from tinyfcn.functional.normalization import BatchNorm, LocalResponseNorm
from tinyfcn.functional.padding import PadConstant
from tinyfcn.functional.pooling import MaxPool2d
from tinyfcn.functional.reduction import Max, Sum
from tinyfcn.functional.shape import Cat, GetItem, Permute, Reshape, full_index
from tinyfcn.functional.unpooling import ScatterPlane
from tinyfcn.receptive_field import NOWHERE, CannotTell, Field, concat, image, join, uniform
from tinyfcn.tensor import Tensor

Shape = tuple[int, ...]
Fields = tuple[Field, Field]  # along rows and columns


class ReceptiveFields(Hook):
    """Follows images (N, C, H, W) through what runs on the backend "meta"."""

    def __init__(self, images: Tensor) -> None:
        # By the array's id: the array, how often it had been written into, and its fields.
        self._known: dict[int, tuple[MetaArray, int, Fields]] = {}
        self._keep(images, (image(images.shape, 2), image(images.shape, 3)))

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        """Apply the rule. What an op without one gives may be known from ops that ran inside."""
        if isinstance(function, Elementwise) or type(function) in RULES:
            fields = [self.of(x) for x in inputs]
            held = [self.of(x) for x in vars(function).values() if isinstance(x, MetaArray)]
            if any(field.depends for pair in held for field in pair):
                return  # something that the rule is not told of
            for y in outputs:
                self._keep(y, _applied(function, y.shape, fields))

    def of(self, x: Any) -> Fields:
        """What the elements of a tensor, an array or a number depend on."""
        x = x.data if isinstance(x, Tensor) else x
        unknown = uniform(np.shape(x), math.nan)
        if not isinstance(x, MetaArray):
            return (uniform(np.shape(x), -math.inf) if has_values(x) else unknown,) * 2
        _, changes, fields = self._known.get(id(x), (x, 0, None))
        if x.memory.changes != changes:
            return unknown, unknown
        if fields is None and x.origin is not None:
            fields = _applied(None, x.shape, [self.of(array) for array in x.origin])
        return fields or (unknown, unknown)

    def _keep(self, x: Tensor, fields: Fields) -> None:
        if isinstance(x.data, MetaArray):
            self._known[id(x.data)] = x.data, x.data.memory.changes, fields


def _applied(op: Function | None, shape: Shape, inputs: Sequence[Fields]) -> Fields:
    """The fields of an output, from those of the inputs; without an op, element by element."""
    rule = RULES.get(type(op), lambda op, shape, *xs: join(xs, shape))

    def along(fields: Sequence[Field]) -> Field:
        try:
            return rule(op, shape, *fields).broadcast(shape)
        except CannotTell:
            return uniform(shape, math.nan)

    return along([rows for rows, _ in inputs]), along([columns for _, columns in inputs])


# ---- along an axis ----


def _window(x: Field, axis: int, n: int, k: int = 1, s: int = 1, p: int = 0, d: int = 1) -> Field:
    """Windows of k elements, d apart, that start at i·s − p."""
    offset = Fraction(d * (k - 1), 2) - p
    return x.windows(axis, n, lambda i: i * s - p + d * np.arange(k), s, offset)


def _stamps(x: Field, axis: int, n: int, k: int = 1, s: int = 1, p: int = 0, d: int = 1) -> Field:
    """The transpose: element i is stamped onto k places, d apart, from i·s − p on."""

    def places(o: Any) -> Any:
        start = o + p - d * np.arange(k)
        return np.where(start % s, NOWHERE, start // s)

    return x.windows(axis, n, places, Fraction(1, s), (p - Fraction(d * (k - 1), 2)) / s)


def _between(
    x: Field, axis: int, n: int, step: Fraction, lower: Fraction | int, upper: Fraction | int
) -> Field:
    """Element i depends on ⌊i · step + lower⌋ … ⌈i · step + upper⌉."""

    def places(i: Any) -> Any:
        at = [m * step for m in i.ravel().tolist()]
        return np.array([(math.floor(x + lower), math.ceil(x + upper)) for x in at])

    return x.windows(axis, n, places, step, Fraction(lower + upper) / 2)


def _interpolated(x: Field, axis: int, n: int, how: Any) -> Field:
    """Adaptive, bilinear and nearest."""
    step = Fraction(how.n, n)
    if isinstance(how, resampling.Adaptive):
        if n < how.n and x.varies(axis):  # windows as large as the image asks for
            x = x.unbounded()
        return _between(x, axis, n, step, 0, step - 1)
    if isinstance(how, resampling.Bilinear) and how.align_corners:
        return _between(x, axis, n, Fraction(how.n - 1, max(1, n - 1)), 0, 0)
    if how.scale is not None:
        step = Fraction(how.scale).limit_denominator(999)
    if isinstance(how, resampling.Bilinear):
        return _between(x, axis, n, step, (step - 1) / 2, (step - 1) / 2)
    return _between(x, axis, n, step, 0, Fraction(1, step.denominator) - 1)


# What resampling does along an axis: told the field, the axis, its new size and how.
RESAMPLING: dict[Any, Callable[..., Field]] = {
    resampling.Adaptive: _interpolated,
    resampling.Average: lambda x, axis, n, how: _window(x, axis, n, how.k, how.s, how.p),
    resampling.Bilinear: _interpolated,
    resampling.Bordered: lambda x, axis, n, how: _window(x, axis, n, p=how.before),
    resampling.Nearest: _interpolated,
    resampling.Spread: lambda x, axis, n, how: _stamps(x, axis, n, s=how.factor),
}


def _resampled(x: Field, axis: int, n: int, how: Any) -> Field:
    if type(how) not in RESAMPLING:
        raise CannotTell
    return RESAMPLING[type(how)](x, axis, n, how)


# ---- ops ----


def _on_maps(one: Callable[..., Field], x: Field, shape: Shape, *options: Any) -> Field:
    """The same along rows and columns; options are given for both."""
    for axis, *own in zip((2, 3), *options, strict=True):
        x = one(x, axis, shape[axis], *own)
    return x


def _conv(one: Callable[..., Field], op: Any, shape: Shape, x: Field, *constants: Field) -> Field:
    if any(c.depends for c in constants) or (op.window.groups > 1 and x.varies(1)):
        raise CannotTell
    return _on_maps(one, x.reduced(1), shape, constants[0].shape[2:], *op.window[:3])


def _batch_norm(op: BatchNorm, shape: Shape, x: Field, *vectors: Field) -> Field:
    if op.training or any(vector.depends for vector in vectors):
        raise CannotTell
    return x


def _softmax(op: Any, shape: Shape, x: Field) -> Field:
    return join([x, x.reduced(op.dim)], shape)


def _of_classes(op: Any, shape: Shape, x: Field, labels: Field) -> Field:
    return join([x.reduced(1).picked(1, 0), labels], shape)


def _getitem(op: GetItem, shape: Shape, x: Field) -> Field:
    parts, axis = full_index(op.index, len(x.axes)), 0
    irregular = [part for part in parts if part is not None and not isinstance(part, slice)]
    for part in parts:
        if isinstance(part, slice):
            x = x.sliced(axis, part)
        elif part is None:
            x = x.expanded(axis)
        elif isinstance(part, int | np.integer):
            x, axis = x.picked(axis, int(part)), axis - 1
        elif x.varies(axis) or len(irregular) > 1 or isinstance(part, MetaArray):
            raise CannotTell  # but a list of channels is one, where all look at the same pixels
        axis += 1
    return x


# A rule is told the op, the shape of its output and the fields of its inputs along one axis of the
# image, and gives the field of its output.
RULES: dict[Any, Callable[..., Field]] = {
    BatchNorm: _batch_norm,
    Cat: lambda op, shape, *xs: concat(xs, op.dim, shape),
    Conv2d: functools.partial(_conv, _window),
    Conv2dInputGrad: functools.partial(_conv, _stamps),
    CrossEntropy: _of_classes,
    GetItem: _getitem,
    LocalResponseNorm: lambda op, shape, x: _window(
        x, 1, shape[1], op.options[0], p=op.options[0] // 2
    ),
    LogSoftmax: _softmax,
    MatMul: lambda op, shape, a, b: join(
        [a.reduced(len(a.axes) - 1), b.reduced(len(b.axes) - 2)], shape
    ),
    Max: lambda op, shape, x: x.reduced(op.dim),
    MaxPool2d: lambda op, shape, x: _on_maps(_window, x, shape, *op.window),
    PadConstant: lambda op, shape, x: _on_maps(_window, x, shape, (1, 1), (1, 1), op.before),
    Permute: lambda op, shape, x: x.permuted(op.dims),
    Reshape: lambda op, shape, x: x.reshaped(shape),
    resampling.Resample2d: lambda op, shape, x: _on_maps(
        _resampled, x, shape, (op.rows, op.columns)
    ),
    ScatterPlane: lambda op, shape, x, indices: _on_maps(
        _stamps, join([x, indices], x.shape), shape, *op.window
    ),
    Softmax: _softmax,
    Sum: lambda op, shape, x: x.reduced(*op.dims),
    TakeClass: _of_classes,
}
