"""Trainings to be shared out, and the plain loop of one process that they are compared with.

As a script, run by mpiexec, it compares them under MPI.
"""

import itertools
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, models, nn, optim
from tinyfcn.data import TORCHVISION, VOID, DataLoader, Sample
from tinyfcn.parallel import exchange, launch
from tinyfcn.parallel.batch_norm import sync_batch_norm
from tinyfcn.parallel.mpi import MPIGroup
from tinyfcn.parallel.shards import Shards
from tinyfcn.training.objective import loss_weight, named_loss, total_loss

CLASSES = 3


class Everything(nn.Module):
    """A weight that is used twice, one frozen, one unused; a part that is computed again; with
    ``norm`` batch norms, one of them inside of it."""

    def __init__(self, norm=True):
        def normed(*layers):
            return nn.Sequential(*layers, *[nn.BatchNorm2d(4)] * norm, nn.ReLU())

        self.first = normed(nn.Conv2d(3, 4, 3, padding=1, bias=not norm))
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.part = normed(nn.Conv2d(4, 4, 3, padding=1, bias=False))
        self.frozen = nn.Conv2d(4, 4, 1)
        self.frozen.weight.requires_grad = False
        self.unused = nn.Linear(2, 2)
        self.last = nn.Conv2d(4, CLASSES, 1)

    def forward(self, x):
        x = self.first(x)
        x = F.relu(self.shared(F.relu(self.shared(x)))) + x
        return self.last(self.frozen(nn.recompute(self.part, x)))


def sgd(parameters, lr=1e-2):
    return optim.SGD(parameters, lr, momentum=0.9)


def slow(parameters):
    return sgd(parameters, 1e-4)  # the gradient of a sum is that of so many pixels


def adam(parameters):
    return optim.Adam(parameters, 1e-2)


class Case(NamedTuple):
    """A training; a batch that is not full has ``images`` % ``batch`` of them."""

    network: Callable[[], Any] = Everything
    images: int = 10
    batch: int = 4
    side: int = 7
    accumulate: int = 1
    reduction: str = "mean"
    loss: str = "ce"
    class_weights: Any = None
    optimizer: Callable[..., Any] = adam
    fixed: int | None = None
    sync: bool = True
    steps: int = 20


def published(name):
    """Without dropout; 50 batch norms of a few values each would make much of a rounding."""
    return lambda: models.create(name, num_classes=CLASSES, width=1 / 64).eval()


WEIGHTS = np.array([0.5, 1.0, 3.0], np.float32)
CASES = {
    "as it is": Case(class_weights=WEIGHTS),
    "accumulated": Case(accumulate=2, class_weights=WEIGHTS),
    "a last batch of one": Case(images=9, accumulate=2, optimizer=sgd),
    "sum": Case(optimizer=slow, reduction="sum", class_weights=WEIGHTS),
    "three losses": Case(
        images=9, accumulate=2, class_weights=WEIGHTS, optimizer=sgd, loss="ce+0.5*dice+focal"
    ),
    "no norm": Case(lambda: Everything(False), images=9, accumulate=2, sync=False),
    "fixed shards": Case(
        lambda: Everything(False), class_weights=WEIGHTS, optimizer=sgd, fixed=5, batch=5,
        images=13, sync=False,
    ),
    "cropped labels": Case(
        published("unet"), images=6, side=188, optimizer=sgd, class_weights=WEIGHTS,
        sync=False, steps=2,
    ),
    "two losses": Case(published("pspnet"), accumulate=2, optimizer=sgd, sync=False, steps=2),
}  # fmt: skip


def samples(case):
    """From nothing void in the first to everything in the last."""
    rng = np.random.default_rng(1)
    for number in range(case.images):
        mask = rng.integers(0, CLASSES, (case.side, case.side)).astype(np.uint8)
        mask[rng.random(mask.shape) < number / (case.images - 1)] = VOID
        image = rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
        yield Sample(str(number), image, mask)


def model_of(case):
    tinyfcn.manual_seed(3)
    return case.network().double()


def loss_of(case, model, images, labels):
    def pixel_loss(logits, labels):
        return named_loss(case.loss)(logits, labels, case.class_weights, VOID, case.reduction)

    return total_loss(model, Tensor(images.astype(float)), labels, pixel_loss)


def alone(case):
    """The loss of each step and all values at the end, by a loop that knows of no shards."""
    model = model_of(case)
    optimizer = case.optimizer(model.parameters())
    data, losses = list(samples(case)), []
    batches = [data[i : i + case.batch] for i in range(0, len(data), case.batch)]
    steps = [
        batches[i : i + case.accumulate] for i in range(0, len(batches), case.accumulate)
    ]  # those of an epoch
    for step in itertools.islice(itertools.cycle(steps), case.steps):
        losses.append(0.0)
        for batch in step:
            images = np.stack([TORCHVISION.apply(sample.image) for sample in batch])
            loss = loss_of(case, model, images, np.stack([sample.mask for sample in batch]))
            (loss / len(step)).backward()
            losses[-1] += loss.item() / len(step)
        optimizer.step()
        optimizer.zero_grad()
    return losses, model.state_dict()


def shared(case, group, model):
    """The same by this rank of a group."""
    if group.rank:  # rank 0 has the weights
        for tensor in model.state_tensors().values():
            tensor.data[...] = 7
    if case.sync:
        sync_batch_norm(model, group)
    shards = Shards(model, group, case.fixed, empty=case.sync)
    loader = DataLoader(
        list(samples(case)), case.batch, shards=shards.count, own=shards.own, workers=0
    )
    optimizer = case.optimizer(model.parameters())
    losses = []

    def weigh(labels):
        return loss_weight(model, labels, case.class_weights)

    with shards:
        while len(losses) < case.steps:
            batches, left = iter(loader), len(loader)
            while left and len(losses) < case.steps:
                size, own = min(case.accumulate, left), 0.0
                left -= size
                for batch, share in shards.of_step(
                    batches, size, weigh if case.reduction == "mean" else None
                ):
                    loss = loss_of(case, model, batch.images, batch.labels) * share
                    loss.backward()
                    own += loss.item()
                losses.append(sum(group.gather(own)))
                optimizer.step()
                optimizer.zero_grad()
            next(batches, None)
    return losses, model.state_dict()


def compare(found, expected):
    """To 1e-12; weights and losses are of the size of 1."""
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
        assert ours[1].keys() == theirs[1].keys()
        for name, values in theirs[1].items():
            np.testing.assert_allclose(ours[1][name], values, 1e-12, 1e-12, err_msg=name)


def under_mpi(name):
    """By the first 2, 3 and 4 of the 4 ranks of mpiexec."""
    world = launch.start()
    expected = None if world.rank else alone(CASES[name])
    for size in range(2, world.size + 1):
        world.barrier()  # in which who waits sleeps
        part = MPI.COMM_WORLD.Split(int(world.rank < size))
        if world.rank < size:
            found = shared(CASES[name], MPIGroup(part), model_of(CASES[name]))
            if world.rank == 0:
                compare([found], [expected])
                print(f"{size} ranks end as one", flush=True)


if __name__ == "__main__":
    try:
        from mpi4py import MPI

        exchange.BUCKET_BYTES = 512
        under_mpi(sys.argv[1])
    except BaseException:
        traceback.print_exc()
        MPI.COMM_WORLD.Abort(1)
