"""What each op does to receptive fields: a table of rules over the calls that a hook sees.

An op that works element by element needs no rule, only the base class ``Elementwise``. Of what an
op without a rule gives, the fields are unknown. ``receptive_field.py`` says what a field is.
"""

from __future__ import annotations

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
from tinyfcn.receptive_field import NOWHERE, CannotTell, Field, concat, constant, image, join
from tinyfcn.tensor import Tensor

Shape = tuple[int, ...]
Fields = tuple[Field | None, Field | None]  # along rows and columns; None where nobody knows


class ReceptiveFields(Hook):
    """Follows an image through what runs on the backend "meta"."""

    def __init__(self) -> None:
        # By the array's id: the array, how often it had been written into, and its fields.
        self._known: dict[int, tuple[MetaArray, int, Fields]] = {}

    def start(self, x: Tensor) -> None:
        """From here on ``x`` (N, C, H, W) is the image."""
        self._keep(x, (image(x.shape, 2), image(x.shape, 3)))

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        """Apply the rule. What an op without one gives may be known from ops that ran inside."""
        if isinstance(function, Elementwise) or type(function) in RULES:
            fields = [self.of(x) for x in inputs]
            held = [self.of(x) for x in vars(function).values() if isinstance(x, MetaArray)]
            if any(field is None or field.depends for pair in held for field in pair):
                fields = [(None, None)]  # something that the rule is not told of
            for y in outputs:
                self._keep(y, _applied(function, y.shape, fields))

    def of(self, x: Any) -> Fields:
        """What the elements of a tensor, an array or a number depend on."""
        x = x.data if isinstance(x, Tensor) else x
        if not isinstance(x, MetaArray):
            return (constant(np.shape(x)),) * 2 if has_values(x) else (None, None)
        _, changes, fields = self._known.get(id(x), (x, 0, None))
        if x.memory.changes != changes:
            return None, None
        if fields is None and x.origin is not None:
            fields = _applied(None, x.shape, [self.of(array) for array in x.origin])
        return fields or (None, None)

    def _keep(self, x: Tensor, fields: Fields) -> None:
        if isinstance(x.data, MetaArray):
            self._known[id(x.data)] = x.data, x.data.memory.changes, fields


def _applied(op: Function | None, shape: Shape, inputs: Sequence[Fields]) -> Fields:
    """The fields of an output, from those of the inputs; without an op, element by element."""
    rule = RULES.get(type(op), lambda op, shape, *xs: join(xs, shape))
    if 0 in shape:
        return None, None

    def along(fields: Sequence[Field | None]) -> Field | None:
        if any(field is None for field in fields):
            return None
        try:
            return rule(op, shape, *fields).resized(shape)
        except CannotTell:
            return None

    return along([rows for rows, _ in inputs]), along([columns for _, columns in inputs])


# ---- windows ----


def _both(
    one: Callable[..., Field], x: Field, shape: Shape, kernel: Any, stride: Any, padding: Any,
    dilation: Any,
) -> Field:  # fmt: skip
    """The same along rows and columns."""
    for axis, k, s, p, d in zip((2, 3), kernel, stride, padding, dilation, strict=True):
        x = one(x, axis, shape[axis], k, s, p, d)
    return x


def _window(x: Field, axis: int, n: int, k: int = 1, s: int = 1, p: int = 0, d: int = 1) -> Field:
    """Windows of k elements, d apart, that start at i·s − p."""
    if not x.varies(axis):
        return x
    offset = Fraction(d * (k - 1), 2) - p
    return x.windows(axis, n, lambda i: i * s - p + d * np.arange(k), 1, s, offset)


def _stamps(x: Field, axis: int, n: int, k: int = 1, s: int = 1, p: int = 0, d: int = 1) -> Field:
    """The transpose: element i is stamped onto k places, d apart, from i·s − p on."""

    def places(o: Any) -> Any:
        start = o + p - d * np.arange(k)
        return np.where(start % s, NOWHERE, start // s)

    return x.windows(axis, n, places, s, 1, (p - Fraction(d * (k - 1), 2)) / s)


def _channels(op: Any, x: Field, *constants: Field) -> Field:
    """After sums over all channels, or those of a group."""
    if op.window.groups > 1 and x.varies(1):
        raise CannotTell
    return _by_constants(x, *constants).reduced(1)


def _by_constants(x: Field, *others: Field) -> Field:
    """x, where the others do not depend on the image."""
    if any(other.depends for other in others):
        raise CannotTell
    return x


# ---- resampling along an axis ----


def _resample2d(op: resampling.Resample2d, shape: Shape, x: Field) -> Field:
    for axis, how in ((2, op.rows), (3, op.columns)):
        if type(how) not in RESAMPLING:
            raise CannotTell
        x = RESAMPLING[type(how)](how, x, axis, shape[axis])
    return x


def _adaptive(how: resampling.Adaptive, x: Field, axis: int, n: int) -> Field:
    step = Fraction(how.n, n)
    if n < how.n and x.varies(axis):  # windows as large as the image asks for
        x = x.unbounded()
    return _between(x, axis, n, (step - 1) / 2, step)


def _bilinear(how: resampling.Bilinear, x: Field, axis: int, n: int) -> Field:
    if how.align_corners:
        return _between(x, axis, n, Fraction(0), Fraction(how.n - 1, max(1, n - 1)))
    step = _step(how)
    return _between(x, axis, n, (step - 1) / 2, step)


def _between(x: Field, axis: int, n: int, start: Fraction, step: Fraction) -> Field:
    """The two elements on either side of start + i · step."""
    per = start.denominator * step.denominator
    a, b = int(start * per), int(step * per)

    def places(i: Any) -> Any:
        return np.concatenate([(a + i * b) // per, -(-(a + i * b) // per)], 1)

    return x.windows(axis, n, places, step.denominator, step.numerator, start)


def _nearest(how: resampling.Nearest, x: Field, axis: int, n: int) -> Field:
    step = _step(how)
    m, per = step.numerator, step.denominator
    return x.windows(axis, n, lambda i: i * m // per, per, m, (step - 1) / 2)


def _step(how: Any) -> Fraction:
    """Inputs for each output."""
    if how.scale is None:
        return Fraction(how.n, how.out)
    return Fraction(how.scale).limit_denominator(999)


# ---- along axes ----


def _sum(op: Sum, shape: Shape, x: Field) -> Field:
    for dim in op.dims:
        x = x.reduced(dim)
    return x


def _softmax(op: Any, shape: Shape, x: Field) -> Field:
    return join([x, x.reduced(op.dim)], shape)


def _batch_norm(op: BatchNorm, shape: Shape, x: Field, *vectors: Field) -> Field:
    if op.training:
        raise CannotTell
    return _by_constants(x, *vectors)


def _of_classes(op: Any, shape: Shape, x: Field, labels: Field) -> Field:
    return join([x.reduced(1).picked(1, 0), labels], shape)


def _getitem(op: GetItem, shape: Shape, x: Field) -> Field:
    parts, axis = full_index(op.index, len(x.axes)), 0
    irregular = [part for part in parts if part is not None and not isinstance(part, slice)]
    for part in parts:
        if isinstance(part, int | np.integer):
            x = x.picked(axis, int(part))
            continue
        if part is None:
            x = x.expanded(axis)
        elif isinstance(part, slice):
            x = x.sliced(axis, part)
        elif x.varies(axis) or len(irregular) > 1 or isinstance(part, MetaArray):
            raise CannotTell  # but a list of channels is one, where all look at the same pixels
        axis += 1
    return x


# A rule is told the op, the shape of its output and the fields of its inputs along one axis of the
# image, and gives the field of its output.
RULES: dict[Any, Callable[..., Field]] = {
    LogSoftmax: _softmax,
    Softmax: _softmax,
    MatMul: lambda op, shape, a, b: join(
        [a.reduced(len(a.axes) - 1), b.reduced(len(b.axes) - 2)], shape
    ),
    Conv2d: lambda op, shape, x, weight, bias: _both(
        _window, _channels(op, x, weight, bias), shape, weight.shape[2:], *op.window[:3]
    ),
    Conv2dInputGrad: lambda op, shape, x, weight, bias: _both(
        _stamps, _channels(op, x, weight, bias), shape, weight.shape[2:], *op.window[:3]
    ),
    CrossEntropy: _of_classes,
    TakeClass: _of_classes,
    BatchNorm: _batch_norm,
    LocalResponseNorm: lambda op, shape, x: _window(
        x, 1, shape[1], op.options[0], p=op.options[0] // 2
    ),
    PadConstant: lambda op, shape, x: _both(_window, x, shape, (1, 1), (1, 1), op.before, (1, 1)),
    MaxPool2d: lambda op, shape, x: _both(_window, x, shape, *op.window),
    Max: lambda op, shape, x: x.reduced(op.dim),
    Sum: _sum,
    resampling.Resample2d: _resample2d,
    Cat: lambda op, shape, *xs: concat(xs, op.dim, shape),
    GetItem: _getitem,
    Permute: lambda op, shape, x: x.permuted(op.dims),
    Reshape: lambda op, shape, x: x.reshaped(shape),
    ScatterPlane: lambda op, shape, x, indices: _both(
        _stamps, join([x, indices], x.shape), shape, *op.window
    ),
}

# The same for resampling along one axis of a tensor: told how, the field, the axis, its new size.
RESAMPLING: dict[Any, Callable[..., Field]] = {
    resampling.Adaptive: _adaptive,
    resampling.Average: lambda how, x, axis, n: _window(x, axis, n, how.k, how.s, how.p),
    resampling.Bilinear: _bilinear,
    resampling.Bordered: lambda how, x, axis, n: _window(x, axis, n, p=how.before),
    resampling.Nearest: _nearest,
    resampling.Spread: lambda how, x, axis, n: _stamps(x, axis, n, s=how.factor),
}
