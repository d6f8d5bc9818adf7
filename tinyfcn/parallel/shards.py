"""A training step shared out: each batch is cut into shards, and each rank learns from its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinyfcn import backend, random
from tinyfcn.data import Batch
from tinyfcn.nn import Module
from tinyfcn.parallel.exchange import Exchange
from tinyfcn.parallel.group import Group
from tinyfcn.tensor import Tensor


class Shards:
    """What a model learns from a batch, as the sum of what it learns from its shards.

    There is a shard for each rank, or, with ``fixed``, so many however many ranks there are. Then
    gradients are added in the order of the shards, and any number of ranks ends with the same bits:
    batch norm sees a shard at a time, dropout draws from a seed of the shard.

    Running means and other buffers become the mean over the shards that had images.

    Args:
        model: gets the weights that it has on rank 0.
        group: the ranks.
        fixed: the number of shards, at least that of ranks; None for one each.
        half: see :class:`Exchange`.
        empty: whether the model has to run on a shard without images as well.

    Attributes:
        count: the number of shards.
        own: the numbers of this rank's.
    """

    def __init__(
        self, model: Module, group: Group, fixed: int | None = None, half: bool = False,
        empty: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.group, self.empty = model, group, empty
        self.count = count = fixed or group.size
        if count < group.size:
            raise ValueError(f"{count} shards are too few for {group.size} ranks")
        edges = [count * rank // group.size for rank in range(group.size + 1)]
        self.own = range(edges[group.rank], edges[group.rank + 1])
        counts = [b - a for a, b in itertools.pairwise(edges)]
        if group.size > 1:
            for tensor in model.state_tensors().values():
                whole = tensor.data.copy()  # contiguous
                group.broadcast([whole])
                tensor.data[...] = whole
        self._parameters = list(model.parameters())
        self.exchange = Exchange(self._parameters, group, counts, fixed is not None, half)

    def __enter__(self) -> Shards:
        """In the block gradients are exchanged while a backward pass goes on."""
        if self.count > 1:
            self.exchange.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.count > 1:
            self.exchange.__exit__()

    def of_step(
        self, batches: Iterator[Batch], size: int, weigh: Callable[[Any], float] | None = None
    ) -> Iterator[tuple[Batch, float]]:
        """This rank's shards of the next ``size`` batches, each with its share in the loss of the
        step; after the last, the gradients of the step are in the parameters.

        Args:
            batches: for each batch as many as this rank has shards.
            size: batches a step; the loss of a step is the mean of theirs.
            weigh: how much the loss of a shard weighs in the mean of its batch, from its labels.
                Without it the loss of a batch is the sum of those of its shards.
        """
        if self.count == 1:
            yield from ((batch, 1 / size) for batch in itertools.islice(batches, size))
            return
        buffers = [buffer.data for buffer in self.model.buffers()]
        start = [buffer.copy() for buffer in buffers]
        kept: list[Any] = [({}, start, False) for _ in self.own]
        for number in range(size):
            mine = list(itertools.islice(batches, len(self.own)))
            weights = [weigh(batch.labels) if weigh else 1.0 for batch in mine]
            total = math.fsum(itertools.chain(*self.group.gather(weights))) if weigh else 1.0
            seed, state = int(random.generator().integers(1 << 62)), random.get_state()
            for i, (shard, batch, weight) in enumerate(zip(self.own, mine, weights, strict=True)):
                if not (batch.ids or self.empty):
                    continue
                random.manual_seed(seed + shard)
                self._go_to(kept[i])
                self.exchange.early = number == size - 1 and len(self.own) == 1
                yield batch, weight / (total or 1.0) / size
                gradients = {p: p.grad.data for p in self._parameters if p.grad is not None}
                copies = [buffer.copy() for buffer in buffers]
                kept[i] = gradients, copies, bool(kept[i][2] or batch.ids)
            random.set_state(state)
        self.exchange.finish([gradients for gradients, *_ in kept])
        self._combine_buffers(buffers, kept)

    def _go_to(self, kept: Any) -> None:
        """Go on with what a shard gave in earlier batches of this step."""
        for p in self._parameters:
            p.grad = Tensor(kept[0][p]) if p in kept[0] else None
        for buffer, values in zip(self.model.buffers(), kept[1], strict=True):
            buffer.data[...] = values

    def _combine_buffers(self, buffers: list[Any], kept: list[Any]) -> None:
        xp, n = backend.active().xp, sum(buffer.size for buffer in buffers)
        if not n:
            return
        rows = xp.zeros((len(kept), math.ceil((n + 1) / self.group.size) * self.group.size))
        for row, (_, copies, present) in zip(rows, kept, strict=True):
            if present:
                row[:n] = xp.concatenate(copies, axis=None)
                row[n] = 1.0
        self.exchange.start_total(rows)()
        ends = np.cumsum([buffer.size for buffer in buffers])
        means = rows[0, :n] / rows[0, n]
        for buffer, end in zip(buffers, ends, strict=True):
            mean = means[end - buffer.size : end].reshape(buffer.shape)
            buffer[...] = mean if buffer.dtype.kind == "f" else xp.rint(mean)
