"""The sum of gradients over all shards of a batch, in buckets, while the backward pass goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.half import from_bfloat16, to_bfloat16
from tinyfcn.function import Function, Hook
from tinyfcn.nn import Parameter
from tinyfcn.parallel.group import Group, Wait
from tinyfcn.tensor import Array, Tensor

BUCKET_BYTES = 4 << 20  # of gradients that travel at a time


class Exchange(Hook):
    """Sums the gradients of shards over all ranks.

    The first step tells in which order a backward pass makes gradients. From the second on, a
    bucket of them is sent off as soon as it is full; :meth:`finish` sends the others.

    Args:
        parameters: whose gradients are summed.
        group: the ranks.
        counts: how many shards each rank has.
        in_order: add shard after shard, where MPI and NCCL add in an order of their own: then the
            sum has the same bits however the shards are spread over ranks.
        half: send bfloat16, a float32 without its lower half, rounded; sums are of float32. It has
            the range of float32, while float16 would make 0 of small gradients.

    Attributes:
        early: whether the next backward pass is the last of this rank's step.
    """

    def __init__(
        self, parameters: Sequence[Parameter], group: Group, counts: Sequence[int],
        in_order: bool = False, half: bool = False,
    ) -> None:  # fmt: skip
        self.parameters, self.group, self.counts = parameters, group, counts
        self.in_order, self.half, self.early = in_order or half, half, False
        self._made: dict[Parameter, int] = {}  # by how many ops, in the order of the first pass
        self._buckets: list[_Bucket] = []
        self._of: dict[Parameter, _Bucket] = {}  # for gradients that one op makes
        self._sums: list[Wait] = []  # of the buckets that were sent

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        self.group.poke()  # a rank that failed is heard of after an op, not after a step

    def backward(self, function: Function, run: Callable[..., Any], *gradients: Any) -> Any:
        result = run(*gradients)
        found = result if isinstance(result, tuple) else (result,)
        if self.early:
            for edge, g in zip(function.edges, found, strict=False):
                if isinstance(edge, Parameter) and g is not None:
                    self._arrived(edge, g.data)
        self.group.poke()
        return result

    def finish(self, shards: Sequence[Mapping[Parameter, Array]]) -> None:
        """Put the sum of what the shards of all ranks gave into the parameters' ``grad``."""
        if not self._buckets:
            self._plan(shards)
        planned = {p for bucket in self._buckets for p in bucket.pieces}
        if any(p not in planned for gradients in shards for p in gradients):
            raise RuntimeError(
                "parallel: a parameter has a gradient that had none in the first step"
            )
        for bucket in self._buckets[len(self._sums) :]:
            bucket.fill(shards)
            self._send(bucket)
        for bucket, wait in zip(self._buckets, self._sums, strict=True):
            wait()
            bucket.hand_out()
        self.early, self._sums = False, []

    def start_total(self, rows: Array, half: bool = False) -> Wait:
        """Begin to sum rows (shards of this rank, n) over all shards into ``rows[0]``; ``n`` is a
        multiple of the number of ranks."""
        if not self.in_order:
            return self.group.start_sum(rows[0])
        xp, size, part = backend.active().xp, self.group.size, rows.shape[1] // self.group.size
        # Each rank adds one part of all shards, and gives the result to all.
        sent = rows.reshape(-1, size, part).swapaxes(0, 1).reshape(size, -1)
        sent = xp.ascontiguousarray(sent)
        sent = to_bfloat16(sent) if half else sent
        received = xp.empty(sum(self.counts) * part, sent.dtype)
        counts = [count * part for count in self.counts]
        arrived = self.group.start_exchange(sent, received, counts)

        def wait() -> None:
            arrived()
            total, *others = (from_bfloat16(received) if half else received).reshape(-1, part)
            for other in others:
                total += other
            whole = xp.empty(size * part, sent.dtype)
            self.group.start_collect(to_bfloat16(total) if half else total, whole)()
            rows[0] = from_bfloat16(whole) if half else whole

        return wait

    def _plan(self, shards: Sequence[Mapping[Parameter, Array]]) -> None:
        """Divide the parameters into buckets, in the order in which rank 0 made their gradients."""
        made = self._made or dict.fromkeys([p for p in self.parameters[::-1] if p in shards[0]], 0)
        number = {p: i for i, p in enumerate(self.parameters)}
        of_ranks = self.group.gather([(number[p], ops) for p, ops in made.items()])
        for index, ops in (dict(itertools.chain(*of_ranks)) | dict(of_ranks[0])).items():
            p = self.parameters[index]
            last = self._buckets[-1] if self._buckets else None
            if not last or last.dtype != p.dtype or last.length * p.dtype.itemsize > BUCKET_BYTES:
                last = _Bucket(p.dtype, self.group)
                self._buckets.append(last)
            last.add(p)
            if ops == 1:
                self._of[p] = last

    def _arrived(self, p: Parameter, g: Array) -> None:
        if not self._buckets:
            self._made[p] = self._made.get(p, 0) + 1
        elif p in self._of:
            self._of[p].put(p, g if p.grad is None else p.grad.data + g)
            while len(self._sums) < len(self._buckets):
                bucket = self._buckets[len(self._sums)]
                if bucket.missing:
                    break
                self._send(bucket)

    def _send(self, bucket: _Bucket) -> None:
        self._sums.append(self.start_total(bucket.rows, self.half))


class _Bucket:
    """Parameters whose gradients travel together, each a piece of one row a shard."""

    def __init__(self, dtype: Any, group: Group) -> None:
        self.dtype, self.length, self._size = dtype, 0, group.size
        self.pieces: dict[Parameter, slice] = {}
        self.rows: Any = None
        self.missing: set[Parameter] = set()  # whose gradients are not there yet

    def add(self, p: Parameter) -> None:
        self.pieces[p] = slice(self.length, self.length + p.size)
        self.length += p.size
        self.missing.add(p)

    def put(self, p: Parameter, g: Array) -> None:
        """The gradient of this rank's only shard."""
        if p not in self.missing:
            raise RuntimeError(
                "parallel: a parameter has a gradient of more ops than in the first step"
            )
        if self.rows is None:
            self._allocate(1)
        _as_in_memory(self.rows[0, self.pieces[p]], p)[...] = g
        self.missing.remove(p)

    def fill(self, shards: Sequence[Mapping[Parameter, Array]]) -> None:
        """The gradients of all parameters and shards; 0 where there is none."""
        self._allocate(len(shards))
        for row, gradients in zip(self.rows, shards, strict=True):
            for p, piece in self.pieces.items():
                _as_in_memory(row[piece], p)[...] = gradients.get(p, 0)

    def hand_out(self) -> None:
        for p, piece in self.pieces.items():
            p.grad = Tensor(_as_in_memory(self.rows[0, piece], p))
        self.rows, self.missing = None, set(self.pieces)

    def _allocate(self, shards: int) -> None:
        padded = (self.length // self._size + 1) * self._size  # never empty
        self.rows = backend.active().xp.empty((shards, padded), self.dtype)
        self.rows[:, self.length :] = 0


def _as_in_memory(row: Array, p: Parameter) -> Array:
    """A piece of a row as an array of the shape and the memory order of ``p``."""
    order = _order(p.data)
    return row.reshape([p.shape[axis] for axis in order]).transpose(np.argsort(order))


def _order(array: Array) -> list[int]:
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
