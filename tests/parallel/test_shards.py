"""What a step shared out leaves behind, and what it refuses."""

import threading

import numpy as np
import pytest
from thread_group import on_ranks

import tinyfcn
from tinyfcn import nn
from tinyfcn.data import Batch
from tinyfcn.parallel import exchange
from tinyfcn.parallel.shards import Shards

MAKING = threading.Lock()  # of models: all threads draw from one source of random numbers
IMAGES = np.random.default_rng(0).standard_normal((4, 6)).astype("f4")


class Model(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x, twice=False, second=True):
        x = self.first(self.first(x) if twice else x)
        return self.second(x) if second else x


def made():
    with MAKING:
        tinyfcn.manual_seed(0)
        return Model()


def step(shards, **how):
    """A step with an image for each shard."""
    batches = iter([Batch(("",), IMAGES[i : i + 1], np.zeros((1, 1, 1), "u1")) for i in shards.own])
    for batch, share in shards.of_step(batches, 1):
        (shards.model(tinyfcn.tensor(batch.images), **how).sum() * share).backward()


def alone(model, **how):
    model(tinyfcn.tensor(IMAGES), **how).sum().backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_of_half_precision_travel_in_float32():
    def rank(group):
        model = made()
        with Shards(model, group) as shards:
            for _ in range(2):  # in the second while the backward pass goes on
                batch = Batch(("",), IMAGES[2 * group.rank :][:2], np.zeros((2, 1, 1), "u1"))
                for own, share in shards.of_step(iter([batch]), 1):
                    y = model(tinyfcn.tensor(own.images, dtype="f2"))
                    (y.sum() * share).backward()
        assert y.dtype == np.float16
        return {name: p.grad.numpy() for name, p in model.named_parameters()}

    expected = alone(made())
    for found in on_ranks(2, rank):
        for name, g in expected.items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], g, rtol=2**-7, atol=2**-8)


@pytest.mark.parametrize("ranks", [2, 4])
def test_gradients_from_before_a_step_are_forgotten(ranks):
    def rank(group):
        model = made()
        with Shards(model, group, 4) as shards:
            for _ in range(3):  # without zero_grad
                step(shards)
        return {name: p.grad.numpy() for name, p in model.named_parameters()}

    expected = alone(made())
    for found in on_ranks(ranks, rank):
        for name, g in expected.items():
            np.testing.assert_allclose(found[name], g, rtol=1e-5, atol=1e-5)


def test_a_gradient_that_rank_0_does_not_have():
    def rank(group):
        model = made()
        with Shards(model, group) as shards:
            for _ in range(2):
                step(shards, second=group.rank == 1)
        return {name: p.grad.numpy() for name, p in model.named_parameters()}

    models = made(), made()
    for r, model in enumerate(models):
        model(tinyfcn.tensor(IMAGES[r : r + 1]), second=r == 1).sum().backward()
    for found in on_ranks(2, rank):
        for name, p in models[1].named_parameters():
            other = dict(models[0].named_parameters())[name].grad
            expected = p.grad.numpy() + (0 if other is None else other.numpy())
            np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("message", ["had none", "of more ops"])
def test_steps_that_differ_from_the_first_are_refused(message):
    def rank(group):
        model = made()
        model.second.requires_grad_(message != "had none")
        with Shards(model, group) as shards:
            step(shards)
            model.requires_grad_(True)
            with pytest.raises(RuntimeError, match=f"a parameter has a gradient .*{message}"):
                step(shards, twice=message == "of more ops")
            raise KeyError("refused")

    with pytest.raises(KeyError, match="refused"):
        on_ranks(2, rank)


def test_more_ranks_than_shards():
    def rank(group):
        with pytest.raises(ValueError, match="2 shards are too few for 3 ranks"):
            Shards(made(), group, 2)

    on_ranks(3, rank)


def test_buckets_leave_while_the_last_backward_pass_goes_on(monkeypatch):
    monkeypatch.setattr(exchange, "BUCKET_BYTES", 100)

    def rank(group):
        begun, seen, start = [], [], group.start_sum

        def noted(array):
            begun.append(array.size)
            return start(array)

        monkeypatch.setattr(group, "start_sum", noted)
        with Shards(made(), group) as shards:
            for number in range(3):
                begun.clear()
                # In the first step the last batch is smaller than the number of ranks.
                batches = [Batch(("",), IMAGES[:1], None), Batch(("",), IMAGES[:1], None)]
                if number == 0 and group.rank == 1:
                    batches[1] = Batch((), IMAGES[:0], None)
                for batch, share in shards.of_step(iter(batches), 2):
                    (shards.model(tinyfcn.tensor(batch.images)).sum() * share).backward()
                    seen.append(len(begun))
        return seen, len(begun)

    for (seen, buckets), batches in zip(on_ranks(2, rank), (2, 1), strict=True):
        assert buckets > 1
        assert seen == [0] * batches + [0, buckets] * 2


def test_weights_are_those_of_rank_0_however_they_lie_in_memory():
    def rank(group):
        model = made()
        model.first.weight.data = np.full((6, 6), group.rank, "f4").T
        model.second.weight.data = np.full((9, 9), group.rank, "f4")[:6, :6]
        model.third = nn.Parameter(np.float32(group.rank))
        Shards(model, group)
        return model.state_dict()

    for found in on_ranks(3, rank):
        assert not any(found[name].any() for name in ("first.weight", "second.weight", "third"))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_running_means_are_those_of_the_shards_with_images(ranks):
    parts = [slice(0, 2), slice(2, 2), slice(2, 4), slice(4, 4)]
    x = IMAGES.reshape(4, 3, 2, 1)

    def rank(group):
        layer = nn.BatchNorm2d(3)
        shards = Shards(layer, group, 4)
        for _ in range(2):
            batches = iter(
                [Batch(("",) * len(x[part]), x[part], None) for part in parts[shards.own.start :]]
            )
            for batch, share in shards.of_step(batches, 1):
                (layer(tinyfcn.tensor(batch.images)).sum() * share).backward()
        return layer.state_dict()

    expected = nn.BatchNorm2d(3).state_dict()
    for _ in range(2):
        layers = [nn.BatchNorm2d(3) for part in parts if len(x[part])]
        for layer, part in zip(layers, (parts[0], parts[2]), strict=True):
            layer.load_state_dict(expected)
            layer(tinyfcn.tensor(x[part]))
        states = [layer.state_dict() for layer in layers]
        expected = {name: (states[0][name] + states[1][name]) / 2 for name in expected}
        expected["num_batches_tracked"] = states[0]["num_batches_tracked"]
    for found in on_ranks(ranks, rank):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
            assert found[name].dtype == value.dtype
