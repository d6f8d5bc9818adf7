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
MOST = 1 << 22  # intervals that are listed


class CannotTell(Exception):
    """An op that nothing is known of, or fields that meet in no regular way."""


class Axis(NamedTuple):
    """An axis of a tensor, as seen along an axis of the image.

    Attributes:
        n: its size.
        shift: by how many pixels the next period's intervals are moved.
        along: whether it runs along the image: NO, over a PART of it, or over the WHOLE, so that a
            sum over the axis depends on everything.
    """

    n: int
    shift: Fraction = Fraction(0)
    along: int = NO


@dataclass(frozen=True)
class Field:
    """What the elements of a tensor depend on, along one axis of the image.

    Attributes:
        axes: those of the tensor.
        first, last: the intervals, in pixels, of one period along each axis. −∞ … ∞ is all of the
            image, however large, and ∞ … −∞ nothing of it.
        centre: of the window of the first element, as that of a convolution is centred; NaN if
            nobody knows.
    """

    axes: tuple[Axis, ...]
    first: Array
    last: Array
    centre: Fraction | float = math.nan

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the tensor."""
        return tuple(axis.n for axis in self.axes)

    @property
    def steps(self) -> tuple[Fraction, ...]:
        """Pixels from one element to the next along each axis, on average."""
        return tuple(a.shift / q for a, q in zip(self.axes, self.first.shape, strict=True))

    @property
    def depends(self) -> bool:
        """Whether the elements depend on the image at all."""
        return bool(self.last.max() > -math.inf)

    @property
    def is_bounded(self) -> bool:
        """Whether they depend on certain parts of the image, not on all or nothing."""
        return bool(np.isfinite(self.first).any())

    def varies(self, axis: int) -> bool:
        """Whether the elements along an axis depend on different parts of the image."""
        return self.first.shape[axis] > 1 or self.axes[axis].shift != 0

    def size(self) -> float:
        """Pixels that one place of a map depends on at most, with all its channels: these are all
        axes but that of the images and those that run along the image."""
        field = self
        for axis in range(1, len(self.axes)):
            if not self.axes[axis].along:
                field = field.reduced(axis)
        size = float((field.last - field.first).max()) + 1
        return size if size > 0 else math.nan

    def stride(self) -> float:
        """Pixels from one place of a map to the next; NaN if this is no map."""
        steps = [abs(s) for s, axis in zip(self.steps, self.axes, strict=True) if axis.along and s]
        return float(steps[0]) if len(steps) == 1 else math.nan

    # ---- along one axis ----

    def windows(
        self, axis: int, n: int, places: Callable[[Array], Any],
        period: int = 1, advance: int = 1, offset: Fraction | int = 0,
    ) -> Field:  # fmt: skip
        """Elements that depend on several elements along an axis each.

        Args:
            axis: the axis.
            n: its new size.
            places: for numbers i, as a column, the elements that the i-th depends on, as rows.
            period, advance: the (i + period)-th depends on those that lie ``advance`` further on.
            offset: where the window of the first is centred, as the number of an element.
        """
        old, q = self.axes[axis], self.first.shape[axis]
        listed = old.shift == 0 and 1 < q >= old.n  # nobody knows what would come next
        repeats = q // math.gcd(q, advance)
        where = np.asarray(places(np.arange(n if listed else period * repeats)[:, None]))
        if listed:
            where = np.where((where >= 0) & (where < q), where, NOWHERE)
        first, last = self._at(axis, where)
        new = old._replace(n=n, shift=old.shift * advance * repeats / q)
        made = self._with(axis, new, first.min(axis + 1), last.max(axis + 1))
        return replace(made, centre=self.centre + self.steps[axis] * offset)

    def sliced(self, axis: int, part: slice) -> Field:
        """``[start:stop:step]`` of an axis."""
        n = self.axes[axis].n
        start, stop, step = part.indices(n)
        picked = range(start, stop, step)
        made = self.windows(axis, len(picked), lambda i: start + i * step, 1, step, start)
        ends = sorted((start, start + (len(picked) - 1) * step))
        if ends[0] < abs(step) and ends[1] + abs(step) >= n:
            return made
        new = made.axes[axis]  # there was room for more
        return made._with(axis, new._replace(along=min(PART, new.along)))

    def reduced(self, axis: int) -> Field:
        """A sum or maximum over an axis, which is kept with size 1."""
        if self.axes[axis].along == WHOLE:
            return self.unbounded()._with(axis, Axis(1))
        old = self.axes[axis]
        where = np.arange(old.n if old.shift else min(old.n, self.first.shape[axis]))
        first, last = self._at(axis, where[:, None])
        return self._with(axis, Axis(1), first.min(axis), last.max(axis))

    def picked(self, axis: int, index: int) -> Field:
        """One element of an axis, without the axis."""
        first, last = self._at(axis, np.asarray(index % self.axes[axis].n))
        centre = self.centre + self.steps[axis] * index
        return Field((*self.axes[:axis], *self.axes[axis + 1 :]), first, last, centre)

    def expanded(self, axis: int) -> Field:
        """With a new axis of size 1."""
        first, last = np.expand_dims(self.first, axis), np.expand_dims(self.last, axis)
        return Field((*self.axes[:axis], Axis(1), *self.axes[axis:]), first, last, self.centre)

    def unbounded(self) -> Field:
        """The whole image, however large, in place of a part of it."""
        everything = np.full((1,) * len(self.axes), math.inf)
        steps = zip(self.axes, self.steps, strict=True)
        return Field(tuple(a._replace(shift=s) for a, s in steps), -everything, everything)

    # ---- shapes ----

    def permuted(self, dims: Sequence[int]) -> Field:
        """The axes in another order."""
        axes = tuple(self.axes[d] for d in dims)
        return Field(axes, self.first.transpose(dims), self.last.transpose(dims), self.centre)

    def resized(self, shape: tuple[int, ...]) -> Field:
        """With other sizes of axes that do not vary."""
        if shape == self.shape:
            return self
        axes = tuple(axis._replace(n=n) for axis, n in zip(self.axes, shape, strict=True))
        return Field(axes, self.first, self.last, self.centre)

    def broadcast(self, shape: tuple[int, ...]) -> Field:
        """Repeated along axes of size 1, or missing in front."""
        field = self
        while len(field.axes) < len(shape):
            field = field.expanded(0)
        for axis, n in enumerate(shape):
            if field.axes[axis].n != n:
                field = field.picked(axis, 0).expanded(axis)
        return field.resized(shape)

    def reshaped(self, shape: tuple[int, ...]) -> Field:
        """The same elements in another shape: neighbouring axes are merged and split."""
        if 0 in shape:
            raise CannotTell
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
        if 1 in (outer.n, inner.n):
            field = self.picked(axis + (inner.n == 1), 0)
            return field._with(axis, field.axes[axis]._replace(along=along))
        first, last = self._at(axis + 1, np.arange(inner.n))
        flat = (*first.shape[:axis], -1, *first.shape[axis + 2 :])
        field, merged = self.picked(axis + 1, 0), Axis(outer.n * inner.n, outer.shift, along)
        return field._with(axis, merged, first.reshape(flat), last.reshape(flat))

    def _split(self, axis: int, inner: int) -> Field:
        """This axis as two."""
        old, q = self.axes[axis], self.first.shape[axis]
        rows = q // math.gcd(q, inner)
        first, last = self._at(axis, np.arange(rows)[:, None] * inner + np.arange(inner))
        shift = old.shift * inner * rows / q
        along = old.along if shift and old.n > inner else NO
        field = self.expanded(axis + 1)._with(axis, Axis(old.n // inner, shift, along), first, last)
        new = Axis(inner, along=NO if along else old.along)
        return field._with(axis + 1, new)._with_period(axis + 1)

    def _with_period(self, axis: int) -> Field:
        """With one period, if there is any, in place of a list of all intervals along an axis that
        runs along the image."""
        n = self.first.shape[axis]
        if not self.axes[axis].along:
            return self
        both = np.stack([np.moveaxis(v, axis, 0).reshape(n, -1) for v in (self.first, self.last)])
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            jumps = np.diff(both[0, :, 0])
            largest = abs(jumps).argmax() if n > 1 else 0
            alike = np.flatnonzero(jumps[largest:] == jumps[largest : largest + 1])
            for q in (1, *alike[1:9]):
                now, after = both[:, :-q], both[:, q:]
                shifts = np.where(now == after, 0, after - now)
                if q <= n // 2 and np.isfinite(shifts).all() and (shifts == shifts.flat[0]).all():
                    first, last = (v.take(np.arange(q), axis) for v in (self.first, self.last))
                    new = self.axes[axis]._replace(shift=Fraction(int(shifts.flat[0])))
                    return self._with(axis, new, first, last)
        return self

    def _repeated(self, axis: int, period: int) -> Field:
        """The same, with several periods as one."""
        if period == self.first.shape[axis]:
            return self
        new = self.axes[axis]._replace(shift=self.steps[axis] * period)
        return self._with(axis, new, *self._at(axis, np.arange(period)))

    def _with(
        self, axis: int, new: Axis, first: Array | None = None, last: Array | None = None
    ) -> Field:
        """With another axis in the place of one, and one period along it."""
        first, last = self.first if first is None else first, self.last if last is None else last
        if first.size > MOST:
            raise CannotTell
        q, one = first.shape[axis], (first.take([0], axis), last.take([0], axis))
        repeats = not new.shift or not np.isfinite(first).any()
        if q > 1 and repeats and (first == one[0]).all() and (last == one[1]).all():
            (first, last), new = one, new._replace(shift=new.shift / q)
        axes = (*self.axes[:axis], new, *self.axes[axis + 1 :])
        return Field(axes, first, last, self.centre)

    def _at(self, axis: int, where: Array) -> tuple[Array, Array]:
        """The intervals of the elements at places of an axis, which may have any number of axes."""
        q = self.first.shape[axis]
        if where.size * (self.first.size // q) > MOST:
            raise CannotTell
        behind = (*where.shape, *[1] * (self.first.ndim - axis - 1))
        moved = (float(self.axes[axis].shift) * (where // q)).reshape(behind)
        gone = (where == NOWHERE).reshape(behind)
        first, last = (v.take(where % q, axis) + moved for v in (self.first, self.last))
        return np.where(gone, math.inf, first), np.where(gone, -math.inf, last)


def image(shape: tuple[int, ...], axis: int) -> Field:
    """The image itself, along one of its axes: every element is its own pixel."""
    axes = [Axis(n) for n in shape]
    axes[axis] = Axis(shape[axis], Fraction(1), WHOLE)
    pixel = np.zeros((1,) * len(shape))
    return Field(tuple(axes), pixel, pixel, Fraction(0))


def constant(shape: tuple[int, ...]) -> Field:
    """A tensor that does not depend on the image."""
    nothing = np.full((1,) * len(shape), math.inf)
    return Field(tuple(map(Axis, shape)), nothing, -nothing)


def join(fields: Sequence[Field], shape: tuple[int, ...]) -> Field:
    """Elements that are computed from those at the same place of several tensors."""
    fields = [field for field in fields if field.depends]
    if len(fields) < 2:
        return fields[0].broadcast(shape) if fields else constant(shape)
    # Those come first that say most of where elements look.
    fields = sorted(
        (field.broadcast(shape) for field in fields),
        key=lambda field: (field.is_bounded, sum(map(bool, field.steps))),
        reverse=True,
    )
    bounded = [field for field in fields if field.is_bounded]
    if any(field.steps != fields[0].steps for field in bounded):
        raise CannotTell
    for axis in range(len(shape)):
        period = math.lcm(*(field.first.shape[axis] for field in fields))
        fields = [field._repeated(axis, period) for field in fields]
    first = np.min(np.broadcast_arrays(*(field.first for field in fields)), 0)
    last = np.max(np.broadcast_arrays(*(field.last for field in fields)), 0)
    along = (max(a.along for a in same) for same in zip(*(f.axes for f in fields), strict=True))
    axes = tuple(a._replace(along=n) for a, n in zip(fields[0].axes, along, strict=True))
    agree = all(field.centre == fields[0].centre for field in bounded)
    return Field(axes, first, last, fields[0].centre if agree else math.nan)


def concat(fields: Sequence[Field], axis: int, shape: tuple[int, ...]) -> Field:
    """The elements of several tensors, one after the other along an axis."""
    along = max(field.axes[axis].along for field in fields)
    placed, start = [], 0
    for field in fields:
        n, where = field.axes[axis].n, np.arange(shape[axis]) - start
        where[(where < 0) | (where >= n)] = NOWHERE
        new = Axis(shape[axis], along=along)
        placed.append(field._with(axis, new, *field._at(axis, where)))
        start += n
    return join(placed, shape)._with_period(axis)
