"""Whole models: NumPy, the emulator, and a device whose arrays stay apart give the same numbers."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, models, nn, optim


class SegNetLike(nn.Module):
    """Pools with indices, unpools with them; odd sizes come back."""

    def __init__(self) -> None:
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.up = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.score = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.down(x)
        pooled, indices = F.max_pool2d(features, 2, return_indices=True, ceil_mode=True)
        return self.score(self.up(F.max_unpool2d(pooled, indices, 2, output_size=x.shape[2:])))


class Dilated(nn.Module):
    """Dilation instead of strides, pooled context, bilinear upsampling: the parts of DeepLab."""

    def __init__(self) -> None:
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 1, 1))
        self.wide = nn.Conv2d(8, 8, 3, padding=4, dilation=4, groups=2)
        self.score = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = F.leaky_relu(self.wide(y)) + F.adaptive_avg_pool2d(y, 1)
        return F.interpolate(self.score(F.dropout(y, 0.3)), x.shape[2:], mode="bilinear")


MODELS = {
    "fcn8s": lambda: models.fcn8s(num_classes=4, width=1 / 32, batch_norm=True),
    "fcn8s, reference": lambda: models.fcn8s(num_classes=4, width=1 / 64, geometry="reference"),
    "segnet-like": SegNetLike,
    "dilated": Dilated,
}


@pytest.fixture
def other(request, monkeypatch, device):
    """A backend that is not the registered one, under its name."""
    made = backend.use("emulator") if request.param == "emulator" else device
    backend.use("numpy")
    monkeypatch.setitem(backend._MAKERS, request.param, ("base", "Backend"))
    monkeypatch.setitem(backend._made, request.param, made)
    return request.param


def train(make, dtype, steps=3):
    """Three steps: for each the logits, the loss and all gradients; at the end the weights."""
    tinyfcn.manual_seed(1)
    rng = np.random.default_rng(2)
    model = make()
    if dtype == "float64":
        model.double()
    for parameter in model.parameters():  # zeros of the scoring layers would hide mistakes
        values = backend.to_numpy(parameter.data)
        if not values.any():
            values = rng.standard_normal(values.shape) / 8
            parameter.data[...] = backend.active().as_array(values.astype(dtype))
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = optim.SGD(learned, lr=0.01, momentum=0.9, weight_decay=1e-3)
    seen = []
    for step in range(steps):
        images = rng.standard_normal((2, 3, 37, 45)).astype(dtype)
        labels = rng.integers(0, 4, (2, 37, 45))
        labels[:, :5] = 255
        logits = model(tinyfcn.tensor(images))
        loss = F.cross_entropy(logits, tinyfcn.tensor(labels), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        seen += [(f"{step} logits", logits), (f"{step} loss", loss)]
        seen += [(f"{step} {n}", p.grad) for n, p in model.named_parameters() if p.requires_grad]
        optimizer.step()
    seen += list(model.named_parameters())
    return {name: np.array(backend.to_numpy(t.data)) for name, t in seen}


@functools.cache
def trained(name):
    """By NumPy, in float64."""
    with backend.using("numpy"):
        return train(MODELS[name], "float64")


@pytest.mark.parametrize("other", ["strict"], indirect=True)
@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_same(name, other):
    expected = trained(name)
    with backend.using(other):
        found = train(MODELS[name], "float64")
    assert found.keys() == expected.keys()
    for key, reference in expected.items():
        scale = max(1e-3, np.abs(reference).max())
        assert np.abs(found[key] - reference).max() <= 1e-10 * scale, key


@pytest.mark.parametrize("other", ["emulator"], indirect=True)
@pytest.mark.parametrize("name", MODELS)
def test_a_first_step_in_float32(name, other):
    """Rounding may turn a maximum or a ReLU over, which moves a gradient by more than it; so the
    bound is on the whole: 1e-3 of the length of all gradients together, logits to 1e-4."""
    expected = trained(name)
    with backend.using(other):
        found = train(MODELS[name], "float32", steps=1)

    def off(keys):
        difference = sum(((found[k] - expected[k]) ** 2).sum() for k in keys)
        return np.sqrt(difference / sum((expected[k] ** 2).sum() for k in keys))

    assert off(["0 logits", "0 loss"]) < 1e-4
    assert off([k for k in found if k.startswith("0 ")]) < 1e-3


def test_arrays_of_host_and_device_do_not_mix(strict, device):
    array = device.zeros((3,), "float64")
    with pytest.raises(TypeError, match="host"):
        array + np.zeros(3)
    with pytest.raises(TypeError, match="host"):
        device.xp.where(array > 0, np.zeros(3), array)
    with pytest.raises(TypeError, match="use xp"):
        np.concatenate([array, array])
    before = strict.DeviceArray.waits
    assert float(array[0]) == 0.0 and not array.sum().item()
    assert strict.DeviceArray.waits == before + 2


@pytest.mark.parametrize("other", ["strict"], indirect=True)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_never_waits_for_the_device(name, other, strict):
    with backend.using(other):
        model = MODELS[name]()
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizers = optim.SGD(learned, lr=0.01, momentum=0.9), optim.Adam(learned)
        images = tinyfcn.tensor(np.ones((1, 3, 33, 40), "float32"))
        labels = tinyfcn.tensor(np.zeros((1, 33, 40), int))
        before = strict.DeviceArray.waits
        for optimizer in optimizers:
            F.cross_entropy(model(images), labels, ignore_index=255).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert strict.DeviceArray.waits == before


@pytest.mark.parametrize("other", ["emulator"], indirect=True)
def test_a_model_file_moves_between_backends(tmp_path, other):
    from tinyfcn.training import checkpoint

    make, image = MODELS["fcn8s"], np.random.default_rng(0).standard_normal((1, 3, 40, 48))

    def answer(model):
        with tinyfcn.no_grad():
            return backend.to_numpy(model.eval()(tinyfcn.tensor(image.astype("float32"))).data)

    for source, target in (("numpy", other), (other, "numpy")):
        with backend.using(source):
            tinyfcn.manual_seed(3)
            model = make()
            checkpoint.save(tmp_path / "model.npz", {"model": model.state_dict()})
            expected = answer(model)
        with backend.using(target):
            tinyfcn.manual_seed(4)
            moved = make()
            moved.load_state_dict(checkpoint.load(tmp_path / "model.npz")["model"])
            found = answer(moved)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("other", ["strict"], indirect=True)
def test_wrong_values_are_rejected_on_the_host_and_give_nan_on_the_device(other):
    logits, wrong = np.zeros((1, 3, 2, 2), "float32"), np.array([[[0, 1], [2, 3]]])
    with backend.using(other):
        x = tinyfcn.tensor(logits)
        with pytest.raises(ValueError, match="target holds the label 3, outside the range 0 … 2"):
            F.cross_entropy(x, wrong)
        loss = F.cross_entropy(x, tinyfcn.tensor(wrong), reduction="none")
        np.testing.assert_allclose(loss.numpy(), [[[np.log(3)] * 2, [np.log(3), np.nan]]], 1e-6)
        assert np.isnan(F.cross_entropy(x, tinyfcn.tensor(wrong)).item())

        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        for number in (4, 2**32):
            pooled = Tensor(pooled.data, requires_grad=True)
            outside = tinyfcn.tensor(np.full(indices.shape, number))
            y = F.max_unpool2d(pooled, outside, 2)
            assert not y.numpy().any()
            y.sum().backward()
            assert np.isnan(pooled.grad.numpy()).all()


SIZES = {"caffenet": 227, "alexnet": 63, "sliding_window": 9}
OPTIONS = {"unet": {"geometry": "aligned"}, "googlenet": {"width": 1 / 16}}
# Deeper ones have more blocks of the same kind.
EVERY = [n for n in models.names() if not re.search("101|resnet34|vgg13|vgg16|vgg19", n)]


@pytest.mark.parametrize("other", ["strict"], indirect=True)
@pytest.mark.parametrize("name", EVERY)
def test_every_network_runs_on_a_device(name, other):
    """Forward and backward, with arrays that reject those of the host."""
    make, side = getattr(models, name), SIZES.get(name, 33 if name.startswith("vgg") else 17)
    images = np.random.default_rng(0).standard_normal((2, 3, side, side))
    results = []
    for which in ("numpy", other):
        with backend.using(which):
            tinyfcn.manual_seed(0)
            model = make(num_classes=3, **{"width": 1 / 32, **OPTIONS.get(name, {})}).double()
            logits = model(tinyfcn.tensor(images))
            (logits * logits).sum().backward()
            first = next(p for p in model.parameters() if p.requires_grad)
            results.append([backend.to_numpy(t.data) for t in (logits, first.grad)])
    for expected, found in zip(*results, strict=True):
        assert np.abs(found - expected).max() <= 1e-8 * max(1e-3, np.abs(expected).max())
