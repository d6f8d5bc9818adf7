"""Batches from a data set: seeded order, augmentation, background threads, a saved position.

Every random number follows from (seed, epoch) or (seed, epoch, index of the sample), never from
which thread comes first. So batches are the same for any number of workers, and a loader that
starts from a saved position goes on exactly there.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import Sample, SegmentationDataset
from tinyfcn.data.palette import VOID
from tinyfcn.data.preprocessing import TORCHVISION, Preprocessing
from tinyfcn.data.transforms import Transform

__all__ = ["Batch", "DataLoader"]

Indices = NDArray[np.intp]

# Streams of random numbers are told apart by the third word of their seed.
_ORDER, _AUGMENT = 0, 1


class Batch(NamedTuple):
    """N samples: images float32 (N, C, H, W), in memory channels-last; labels uint8 (N, H, W)."""

    ids: tuple[str, ...]
    images: Any  # a NumPy array, or what ``upload`` made of it
    labels: NDArray[np.uint8]


@dataclass(eq=False, repr=False)
class DataLoader:
    """Iterate over a data set in batches, one epoch for each ``for`` loop.

    Args:
        dataset: what has a length and gives a :class:`Sample` for each index.
        batch_size: samples a batch; the last one of an epoch may be smaller.
        shuffle: draw a new order each epoch.
        transform: called as ``transform(sample, rng)``; see :mod:`tinyfcn.data.transforms`.
        preprocessing: how images become network input.
        seed: of order and augmentation.
        workers: threads that prepare batches ahead; 0 prepares them where they are used.
        drop_last: leave out a last batch that is not full.
        shards: cut each batch into so many parts, of nearly equal size; where there are two samples
            for each, none gets a single one, not of a smaller last batch either.
        own: the numbers of the shards that are handed out, one by one, as batches; of a last batch
            some may have no samples.
        upload: what the worker does with the images of a batch at last; what that gives is called
            when the batch is handed out. ``backend.active().upload`` copies them to the device
            while that computes on earlier ones.

    Samples of different sizes in one batch, or shard, are padded at the bottom and right to the
    largest: images with zeros, which is the mean colour after preprocessing, labels with void.

    A loop that is left early goes on where it was with the next ``for``; ``state_dict()`` says
    where that is. An error in a worker is raised in the loop, with the id of the sample.
    """

    dataset: SegmentationDataset | Sequence[Sample]
    batch_size: int = 1
    shuffle: bool = False
    transform: Transform | None = None
    preprocessing: Preprocessing = TORCHVISION
    seed: int = 0
    workers: int = 2
    drop_last: bool = False
    shards: int = 1
    own: Sequence[int] = (0,)
    upload: Callable[[Any], Callable[[], Any]] = lambda images: lambda: images
    epoch: int = field(default=0, init=False)
    position: int = field(default=0, init=False)  # batches of this epoch already handed out

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"DataLoader: {name} must be at least {least}, got {value}")
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: no batch to give: the data set has {len(self.dataset)} samples, "
                f"batch_size={self.batch_size}, drop_last={self.drop_last}"
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def images(self, batches: int) -> int:
        """How many images the first batches of an epoch have."""
        return min(batches * self.batch_size, len(self.dataset))

    def state_dict(self) -> dict[str, int]:
        """The epoch and the position in it: the number of batches already handed out."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue at a position from :meth:`state_dict`, with the next ``for`` loop."""
        epoch, position = int(state["epoch"]), int(state["position"])
        if epoch < 0 or not 0 <= position <= len(self):
            raise ValueError(
                f"DataLoader: epoch must be at least 0 and position in [0, {len(self)}], the "
                f"batches in an epoch, got epoch={epoch}, position={position}"
            )
        self.epoch, self.position = epoch, position

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch, _ORDER]).permutation(order)
        size = self.batch_size
        batches = [order[i * size : (i + 1) * size] for i in range(self.position, len(self))]
        parts = [part for batch in batches for part in self._cut(batch)]
        for number, batch in enumerate(self._prepare(parts, epoch)):
            self.position += number % len(self.own) == 0
            yield batch._replace(images=batch.images())
        self.epoch, self.position = epoch + 1, 0

    def _cut(self, batch: Indices) -> Iterator[tuple[Indices, Indices]]:
        """For each shard that is handed out, the batch and what of it is in the shard."""
        alone = self.batch_size < 2 * self.shards
        used = max(1, min(self.shards, len(batch) if alone else len(batch) // 2))
        ends = [len(batch) * min(i, used) // used for i in range(self.shards + 1)]
        return ((batch, batch[ends[i] : ends[i + 1]]) for i in self.own)

    def _prepare(self, batches: list[tuple[Indices, Indices]], epoch: int) -> Iterator[Batch]:
        """The batches in order, made ahead by the workers."""
        ahead: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(max(1, self.workers), thread_name_prefix="tinyfcn-loader")
        process = os.getpid()
        try:
            for done, part in enumerate(batches):
                # In the child of a fork the pool has no threads.
                if self.workers == 0 or os.getpid() != process:
                    yield self._batch(*part, epoch)
                    continue
                for later in batches[done + len(ahead) : done + self.workers + 1]:
                    ahead.append(pool.submit(self._batch, *later, epoch))
                yield ahead.popleft().result()
        finally:
            # Reached on the last batch, on an error, on Ctrl-C and when the loop is left early.
            pool.shutdown(wait=True, cancel_futures=True)

    def _batch(self, batch: Indices, part: Indices, epoch: int) -> Batch:
        samples = [self.sample(int(index), epoch) for index in part]
        like = samples or [self.sample(int(batch[0]), epoch)]  # even no images have a size
        height, width = np.max([sample.mask.shape for sample in like], axis=0)
        images = np.zeros((len(samples), height, width, self.preprocessing.channels), np.float32)
        labels = np.full((len(samples), height, width), VOID, np.uint8)
        for image, label, sample in zip(images, labels, samples, strict=True):
            h, w = sample.mask.shape
            image[:h, :w] = self.preprocessing.apply(sample.image).transpose(1, 2, 0)
            label[:h, :w] = sample.mask
        ids = tuple(sample.id for sample in samples)
        return Batch(ids, self.upload(images.transpose(0, 3, 1, 2)), labels)  # (N, 3, H, W)

    def sample(self, index: int, epoch: int) -> Sample:
        """A sample as an epoch shows it, the first of which is 0."""
        ids = getattr(self.dataset, "ids", None)
        name = f"number {index}" if ids is None else repr(ids[index])
        try:
            sample = self.dataset[index]
            if self.transform is not None:
                rng = np.random.default_rng([self.seed, epoch, _AUGMENT, index])
                sample = self.transform(sample, rng)
            return sample
        except (DataError, MemoryError, OSError) as error:
            kind = MemoryError if isinstance(error, MemoryError) else DataError
            raise kind(f"sample {name}: {error}") from error
        except Exception as error:
            raise RuntimeError(f"sample {name}: {type(error).__name__}: {error}") from error
