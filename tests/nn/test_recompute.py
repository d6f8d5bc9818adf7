"""Gradient checkpointing: the same bits, less memory."""

import tracemalloc

import numpy as np
import pytest

import tinyfcn
from tinyfcn import functional as F
from tinyfcn import gradcheck, gradgradcheck, models, nn, tensor


def part():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 3, 1),
    )


def run(recomputed, frozen=False):
    tinyfcn.manual_seed(3)
    module = part()
    if frozen:
        module[0].requires_grad_(False)
    x = tensor(
        np.random.default_rng(0).standard_normal((2, 2, 5, 6)), "float32", requires_grad=True
    )
    y = nn.recompute(module, x) if recomputed else module(x)
    (y * y).sum().backward()
    after = tinyfcn.random.generator().random()
    grads = [None if p.grad is None else p.grad.numpy() for p in module.parameters()]
    return [y.numpy(), x.grad.numpy(), *grads, *module.state_dict().values(), after]


@pytest.mark.parametrize("frozen", [False, True])
def test_the_same_bits_with_batch_norm_dropout_and_frozen_layers(frozen):
    for plain, again in zip(run(False, frozen), run(True, frozen), strict=True):
        np.testing.assert_array_equal(plain, again)


def test_inputs_without_gradient(rng):
    module = part()
    nn.recompute(module, tensor(rng.standard_normal((1, 2, 5, 6)), "float32")).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_both_orders(rng):
    module = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Tanh()).double()
    x = tensor(rng.standard_normal((1, 2, 4, 4)), requires_grad=True)
    weight = module[0].weight
    assert gradcheck(lambda t, _: nn.recompute(module, t), [x, weight])
    assert gradgradcheck(lambda t, _: nn.recompute(module, t), [x, weight], directional=True)


def test_a_network_learns_the_same(rng):
    image = rng.standard_normal((1, 3, 80, 80)).astype("float32")
    labels = np.zeros((1, 80, 80), int)

    def gradients(recompute):
        tinyfcn.manual_seed(0)
        model = models.fcn8s(num_classes=2, width=1 / 16, batch_norm=True, recompute=recompute)
        F.cross_entropy(model(tensor(image)), labels).backward()
        return [p.grad.numpy() for p in model.parameters() if p.requires_grad]

    for a, b in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_the_cuts_and_one_part_are_held_at_once(rng, monkeypatch):
    """Twelve layers keep 12 maps; four parts of three keep 4, and at the end 3 of one part."""
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "1")  # each further thread may hold a buffer or not
    x = tensor(rng.standard_normal((1, 8, 128, 128)), "float32")
    parts = [
        nn.Sequential(*[m for _ in range(3) for m in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())])
        for _ in range(4)
    ]

    def peak(apply):
        tracemalloc.start()
        y = x
        for one in parts:
            y = apply(one, y)
        y.sum().backward()
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held / x.data.nbytes

    plain, less = peak(lambda module, y: module(y)), peak(nn.recompute)
    assert plain > 12
    assert less < plain - 4
