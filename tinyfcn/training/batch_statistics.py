"""Mean and variance for batch normalization, taken anew before a model is scored.

The running ones that training keeps are of its last batches, each normalized and weighed by the
weights of its time. Where these still change fast, early or with a large learning rate, they are
behind, from layer to layer a little more: an FCN-8s that labelled 0.72 of the pixels right with
statistics of its own had 0.42 with the running ones, after an epoch of 38 batches. So they become
the plain mean over a few batches, all seen with the weights of now. Training does not use them.

Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3, "PreciseBN".
"""

from __future__ import annotations

import dataclasses
import itertools

from tinyfcn import backend
from tinyfcn.data import DataError, DataLoader
from tinyfcn.nn import BatchNorm2d, Module
from tinyfcn.parallel import Group
from tinyfcn.tensor import Tensor
from tinyfcn.without_values import evaluating

MOST = 8  # batches, more change nothing; but in an epoch of few, not more than an eighth of them


def renew(model: Module, learning: Module, loader: DataLoader, group: Group) -> None:
    """Give the batch norms of a model the statistics that it has now, without dropout.

    Always the same batches are taken, by all ranks; they are of the size that each trains on.

    Args:
        model: it is left in the mode it was in.
        learning: itself, or one of the same layers; those that are in evaluation mode here keep
            what they have.
        loader: the training batches; its position stays as it is.
        group: the ranks, all of which end with the values of rank 0.

    Raises:
        DataError: if they are not finite; those that the model had stay then.
    """
    pairs = zip(model.modules(), learning.modules(), strict=True)
    norms = [m for m, like in pairs if isinstance(m, BatchNorm2d) and like.training]
    former = [(buffer, buffer.data.copy()) for norm in norms for buffer in norm.buffers()]
    renewed = [buffer.data for buffer, _ in former if buffer.dtype.kind == "f"]
    if not renewed:
        return
    size = max(1, loader.batch_size // loader.shards)
    batches = dataclasses.replace(loader, batch_size=size, shards=1, own=(0,))
    most = min(MOST, max(1, len(batches) // 8))
    momenta, finite = [norm.momentum for norm in norms], False
    try:
        with evaluating(model):
            for number, batch in enumerate(itertools.islice(batches, most), start=1):
                for norm in norms:
                    norm.training, norm.momentum = True, 1 / number
                model(Tensor(batch.images))
        finite = all(backend.active().xp.isfinite(values).all() for values in renewed)
        if not finite:
            raise DataError(
                "batch norm: the network gave no finite mean; its weights, or the images that it "
                "was shown, are beyond float32"
            )
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for buffer, values in former:
            if not finite or buffer.dtype.kind != "f":  # a count is of batches learned from
                buffer.data[...] = values
    group.broadcast(renewed)
