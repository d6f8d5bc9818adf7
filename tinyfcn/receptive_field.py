"""Receptive fields: which pixels of the image each element of a tensor depends on.

They are followed along one axis of the image, rows or columns, at a time. There an element depends
on an interval of pixels, and the intervals repeat along the axes of a tensor: behind a convolution
of stride 2 each is its neighbour's, moved by 2 pixels; where a map is upsampled 3 times, each is
that of the third neighbour, moved by 1. So one period says all, exactly. The image counts as
endless: padding, cropping and its border make no field larger or smaller.

What ops do to a :class:`Field` is written in ``receptive_field_rules.py`` with what stands here:
windows along an axis, reductions, reshapes, and the fields of several tensors that meet.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NOWHERE = np.iinfo(np.int64).min  # among places: no element
NO, PART, WHOLE = 0, 1, 2
SIGNS = np.array([-1, 1])
MOST = 1 << 22  # intervals that are listed
LONGEST = 64  # period that is looked for in a list


class CannotTell(Exception):
    """An op that nothing is known of, or fields that meet in no regular way."""


class Axis(NamedTuple):
    """An axis of a tensor, as seen along an axis of the image.

    Attributes:
        n: its size.
        step: pixels from one element to the next, on average.
        along: whether it runs along the image: NO, over a PART of it, or over the WHOLE, so that a
            sum over the axis depends on everything.
    """

    n: int
    step: Fraction = Fraction(0)
    along: int = NO


@dataclass(frozen=True)
class Field:
    """What the elements of a tensor depend on, along one axis of the image.

    Attributes:
        axes: those of the tensor.
        reach: (…, 2), minus the first and the last pixel of the intervals, of one period along each
            axis: the larger, the more. ∞ and ∞ is all of the image, however large, −∞ and −∞
            nothing of it; NaN where nobody knows.
        centre: of the window of the first element, as that of a convolution is centred; NaN if
            nobody knows.
    """

    axes: tuple[Axis, ...]
    reach: Array
    centre: Fraction | float = math.nan

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the tensor."""
        return tuple(axis.n for axis in self.axes)

    @property
    def steps(self) -> tuple[Fraction, ...]:
        """Pixels from one element to the next along each axis, on average."""
        return tuple(axis.step for axis in self.axes)

    @functools.cached_property
    def depends(self) -> bool:
        """Whether the elements depend on the image at all."""
        return not (self.reach == -math.inf).all()

    @functools.cached_property
    def is_bounded(self) -> bool:
        """Whether they depend on certain parts of the image, not on all or nothing."""
        return not np.isinf(self.reach).all()

    def varies(self, axis: int) -> bool:
        """Whether the elements along an axis depend on different parts of the image."""
        return self.reach.shape[axis] > 1 or self.axes[axis].step != 0

    def size(self) -> float:
        """Pixels that one place of a map depends on at most, with all its channels: these are all
        axes but that of the images and those that run along the image."""
        channels = tuple(i for i, axis in enumerate(self.axes) if i and not axis.along)
        size = float(self.reach.max(channels).sum(-1).max()) + 1
        return size if size > 0 else math.nan

    def stride(self) -> float:
        """Pixels from one place of a map to the next; NaN if this is no map."""
        steps = [axis.step for axis in self.axes if axis.along and axis.step]
        return float(abs(steps[0])) if len(steps) == 1 and len(self.axes) == 4 else math.nan

    # ---- along one axis ----

    def taken(self, axis: int, where: Array, *new: Axis) -> Field:
        """Elements of an axis, or sums of several of them.

        Args:
            axis: the axis.
            where: their places, with any number of axes; NOWHERE is no element.
            new: what comes in place of the axis: the first axes of ``where``. The sums are over the
                others.
        """
        step, q = self.axes[axis].step, self.reach.shape[axis]
        if where.size * (self.reach.size // q) > MOST:
            raise CannotTell
        shift = step.numerator * q // step.denominator  # of the next period's intervals
        behind = (*where.shape, *[1] * (self.reach.ndim - axis - 1))
        moved = self.reach.take(where % q, axis) + SIGNS * (shift * (where // q)).reshape(behind)
        reach = np.where((where == NOWHERE).reshape(behind), -math.inf, moved)
        summed = tuple(range(axis + len(new), axis + where.ndim))
        axes = (*self.axes[:axis], *new, *self.axes[axis + 1 :])
        return Field(axes, reach.max(summed), self.centre)

    def windows(
        self, axis: int, n: int, places: Callable[[Array], Any],
        advance: Fraction | int, offset: Fraction | int,
    ) -> Field:  # fmt: skip
        """Elements that depend on several elements along an axis each.

        Args:
            axis: the axis.
            n: its new size.
            places: for numbers i, as a column, the elements that the i-th depends on, as rows.
            advance: by how many elements the next window lies further on; a / b, if the b-th does
                so by a, and those between in another way.
            offset: where the window of the first is centred, as the number of an element.
        """
        old, q = self.axes[axis], self.reach.shape[axis]
        if not self.varies(axis):
            return self._with(axis, old._replace(n=n))
        listed = old.step == 0 and 1 < q >= old.n  # nobody knows what would come next
        period = advance.denominator * q // math.gcd(q, advance.numerator)
        where = places(np.arange(n if listed else period)[:, None])
        if listed:
            where = np.where((where >= 0) & (where < q), where, NOWHERE)
        new = old._replace(n=n, step=old.step * advance)
        made = self.taken(axis, where, new)._shortened(axis)
        return replace(made, centre=self.centre + old.step * offset)

    def sliced(self, axis: int, part: slice) -> Field:
        """``[start:stop:step]`` of an axis."""
        old = self.axes[axis]
        start, stop, step = part.indices(old.n)
        n = len(range(start, stop, step))
        if n < old.n // abs(step):  # there was room for more
            old = old._replace(along=min(PART, old.along))
        return self._with(axis, old).windows(axis, n, lambda i: start + i * step, step, start)

    def reduced(self, *axes: int) -> Field:
        """A sum or maximum over axes, which are kept with size 1."""
        field = self
        for axis in axes:
            if field.axes[axis].along == WHOLE:
                field = field.unbounded()
            n = field.axes[axis].n if field.varies(axis) else 1
            field = field.taken(axis, np.arange(n)[None], Axis(1))
        return field

    def picked(self, axis: int, index: int) -> Field:
        """One element of an axis, without the axis."""
        made = self.taken(axis, np.asarray(index % self.axes[axis].n))
        return replace(made, centre=self.centre + self.axes[axis].step * index)

    def expanded(self, axis: int) -> Field:
        """With a new axis of size 1."""
        axes = (*self.axes[:axis], Axis(1), *self.axes[axis:])
        return Field(axes, np.expand_dims(self.reach, axis), self.centre)

    def unbounded(self) -> Field:
        """The whole image, however large, in place of a part of it."""
        return replace(self, reach=np.full_like(self.reach, math.inf))

    # ---- shapes ----

    def permuted(self, dims: Sequence[int]) -> Field:
        """The axes in another order."""
        axes = tuple(self.axes[d] for d in dims)
        return Field(axes, self.reach.transpose(*dims, -1), self.centre)

    def broadcast(self, shape: tuple[int, ...]) -> Field:
        """Repeated along axes that do not vary, or have size 1, or are missing in front."""
        field = self
        while len(field.axes) < len(shape):
            field = field.expanded(0)
        for axis, n in enumerate(shape):
            if field.axes[axis].n != n:
                if field.varies(axis):
                    field = field.picked(axis, 0).expanded(axis)
                field = field._with(axis, field.axes[axis]._replace(n=n))
        return field

    def reshaped(self, shape: tuple[int, ...]) -> Field:
        """The same elements in another shape: neighbouring axes are merged and split."""
        field, axis = self, 0
        while (old := field.shape) != shape:
            if axis == len(old):
                field = field.expanded(axis)
            elif axis == len(shape):
                field = field._merged(axis - 1)
            elif old[axis] == shape[axis]:
                axis += 1
            elif old[axis] % shape[axis]:
                field = field._merged(axis)
            else:
                field = field._split(axis, old[axis] // shape[axis])
        return field

    def _merged(self, axis: int) -> Field:
        """This axis and the next as one."""
        outer, inner = self.axes[axis : axis + 2]
        along = max(outer.along, inner.along)
        if outer.n == 1:
            return self.picked(axis, 0)._with(axis, inner._replace(along=along))
        reach = self.taken(axis + 1, np.arange(inner.n), inner).reach
        reach = reach.reshape(*reach.shape[:axis], -1, *reach.shape[axis + 2 :])
        merged = Axis(outer.n * inner.n, outer.step / inner.n, along)
        axes = (*self.axes[:axis], merged, *self.axes[axis + 2 :])
        return Field(axes, reach, self.centre)._shortened(axis)

    def _split(self, axis: int, inner: int) -> Field:
        """This axis as two."""
        old, q = self.axes[axis], self.reach.shape[axis]
        rows = q // math.gcd(q, inner)
        where = np.arange(rows)[:, None] * inner + np.arange(inner)
        along = (old.along, NO) if old.step and old.n > inner else (NO, old.along)
        outer = Axis(old.n // inner, old.step * inner, along[0])
        made = self.taken(axis, where, outer, Axis(inner, along=along[1]))
        return made._shortened(axis)._shortened(axis + 1)

    def _shortened(self, axis: int) -> Field:
        """With a shorter period along an axis, if there is one; also in place of a list of all
        intervals along an axis that runs along the image."""
        old, q = self.axes[axis], self.reach.shape[axis]
        if q == 1:
            return self
        ends = np.moveaxis(self.reach * SIGNS, axis, 0).reshape(q, -1)
        if (ends == ends[0]).all() and not (old.step and self.is_bounded):
            return self.taken(axis, np.arange(1), old)
        is_list = old.along and not old.step and q == old.n and np.isfinite(ends).all()
        for period in range(1, min(q // 2, LONGEST) + 1) if is_list else ():
            shifts = ends[period:] - ends[:-period]
            if (shifts == shifts[0, 0]).all():
                new = old._replace(step=Fraction(int(shifts[0, 0]), period))
                return self.taken(axis, np.arange(period), new)
        return self

    def _with(self, axis: int, new: Axis) -> Field:
        """With another axis in the place of one."""
        return replace(self, axes=(*self.axes[:axis], new, *self.axes[axis + 1 :]))


def image(shape: tuple[int, ...], axis: int) -> Field:
    """The image itself, along one of its axes: every element is its own pixel."""
    axes = [Axis(n) for n in shape]
    axes[axis] = Axis(shape[axis], Fraction(1), WHOLE)
    return Field(tuple(axes), np.zeros((*[1] * len(shape), 2)), Fraction(0))


@functools.lru_cache
def uniform(shape: tuple[int, ...], reach: float) -> Field:
    """A tensor that does not depend on the image: −∞; or of which nobody knows anything: NaN."""
    return Field(tuple(map(Axis, shape)), np.full((*[1] * len(shape), 2), reach))


def join(fields: Sequence[Field], shape: tuple[int, ...]) -> Field:
    """Elements that are computed from those at the same place of several tensors."""
    fields = [field.broadcast(shape) for field in fields if field.depends]
    if len(fields) < 2:
        return fields[0] if fields else uniform(shape, -math.inf)
    for axis in range(len(shape)):
        period = math.lcm(*(field.reach.shape[axis] for field in fields))
        if period > 1:
            fields = [field.taken(axis, np.arange(period), field.axes[axis]) for field in fields]
    # Those that depend on all of the image take any step.
    bounded = [field for field in fields if field.is_bounded]
    most = max(bounded or fields, key=lambda field: sum(map(bool, field.steps)))
    if any(field.steps != most.steps for field in bounded):
        raise CannotTell
    axes = tuple(
        axis._replace(along=max(other.along for other in same))
        for axis, *same in zip(most.axes, *(field.axes for field in fields), strict=True)
    )
    reach = functools.reduce(np.maximum, [field.reach for field in fields])
    agree = all(field.centre == most.centre for field in bounded)
    return Field(axes, reach, most.centre if agree else math.nan)


def concat(fields: Sequence[Field], axis: int, shape: tuple[int, ...]) -> Field:
    """The elements of several tensors, one after the other along an axis."""
    new = Axis(shape[axis], along=max(field.axes[axis].along for field in fields))
    placed, start = [], 0
    for field in fields:
        where = np.arange(new.n) - start
        where[(where < 0) | (where >= field.axes[axis].n)] = NOWHERE
        placed.append(field.taken(axis, where, new))
        start += field.axes[axis].n
    return join(placed, shape)._shortened(axis)
