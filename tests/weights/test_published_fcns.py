"""The published FCNs in caffemodels, and FCN-AlexNet computed from its file alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import tinyfcn
from tinyfcn import models, weights
from tinyfcn.data import CAFFE
from tinyfcn.training.published import load_model

Arrays = dict[str, NDArray[Any]]


# ---- FCN-AlexNet ----

WIDTH = 1 / 16  # of the published numbers of channels
ALEXNET = {
    "conv1": (6, 3, 11, 11), "conv2": (16, 3, 5, 5), "conv3": (24, 16, 3, 3),
    "conv4": (24, 12, 3, 3), "conv5": (16, 12, 3, 3), "fc6": (256, 16, 6, 6),
    "fc7": (256, 256, 1, 1), "score_fr": (21, 256, 1, 1),
}  # fmt: skip


def convolution(
    x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any], stride: int, pad: int, groups: int
) -> NDArray[Any]:
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, weight.shape[2:], (1, 2))[:, ::stride, ::stride]
    pairs = zip(np.split(windows, groups), np.split(weight, groups), strict=True)
    parts = [np.einsum("cyxij,ocij->oyx", w, k, optimize=True) for w, k in pairs]
    return np.concatenate(parts) + bias[:, None, None]


def pooling(x: NDArray[Any]) -> NDArray[Any]:
    """3 × 3, stride 2, rounding up."""
    more = [(0, 0), *((0, (n - 3) % 2) for n in x.shape[1:])]
    x = np.pad(x, more, constant_values=-np.inf)
    return sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))


def normalization(x: NDArray[Any]) -> NDArray[Any]:
    squares = np.pad(x**2, ((2, 2), (0, 0), (0, 0)))
    total = sliding_window_view(squares, 5, 0).sum(-1)
    return x / (1 + 1e-4 / 5 * total) ** 0.75


def fcn_alexnet(x: NDArray[Any], arrays: Arrays) -> NDArray[Any]:
    """The published prototxt, line by line."""

    def layer(name: str, x: NDArray[Any], stride: int = 1, pad: int = 0, groups: int = 1) -> Any:
        return convolution(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"], stride, pad, groups)

    def relu(x: NDArray[Any]) -> NDArray[Any]:
        return np.maximum(x, 0)

    height, width = x.shape[1:]
    x = normalization(pooling(relu(layer("conv1", x, 4, 100))))
    x = normalization(pooling(relu(layer("conv2", x, 1, 2, 2))))
    x = relu(layer("conv3", x, 1, 1))
    x = relu(layer("conv4", x, 1, 1, 2))
    x = pooling(relu(layer("conv5", x, 1, 1, 2)))
    x = layer("score_fr", relu(layer("fc7", relu(layer("fc6", x)))))
    classes, rows, columns = x.shape
    large = np.zeros((classes, 32 * (rows - 1) + 63, 32 * (columns - 1) + 63))
    for row in range(rows):
        for column in range(columns):
            stamp = np.einsum("c,cdij->dij", x[:, row, column], arrays["upscore.weight"])
            large[:, 32 * row : 32 * row + 63, 32 * column : 32 * column + 63] += stamp
    return large[:, 18 : 18 + height, 18 : 18 + width]


def test_the_published_fcn_alexnet(
    tmp_path: Path, caffemodel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    arrays: Arrays = {}
    for name, shape in ALEXNET.items():
        arrays[f"{name}.weight"] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, shape[0])
    tap = 1 - np.abs(np.arange(63) - 31) / 32
    arrays["upscore.weight"] = np.zeros((21, 21, 63, 63))
    arrays["upscore.weight"][range(21), range(21)] = np.outer(tap, tap)
    path = caffemodel(tmp_path / "fcn-alexnet-pascal.caffemodel", arrays)

    model, about = load_model(path, "fcn32s", backbone="caffenet", width=WIDTH)
    assert capsys.readouterr().out == ""  # nothing is left of the file
    assert about.preprocessing == CAFFE
    assert about.arguments["geometry"] == "reference"
    x = rng.normal(0, 50, (3, 45, 70))
    with tinyfcn.no_grad():
        ours = model.double().eval()(tinyfcn.tensor(x[None])).numpy()[0]
    theirs = fcn_alexnet(x, {key: array.astype(np.float32) for key, array in arrays.items()})
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


# ---- the FCNs of VGG16 ----

VGG16 = [f"conv{stage}_{i}" for stage, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]


def fcn_in_caffe(name: str, hyphens: bool = False) -> Arrays:
    """An FCN of VGG16 of 1/64 of the width under its published names."""
    tinyfcn.manual_seed(0)
    state = models.create(name, width=1 / 64, num_classes=4).state_dict()
    convolutions = [k for k, a in state.items() if k.startswith("backbone") and a.ndim == 4]
    names = dict(zip(convolutions, VGG16, strict=True))
    old = {"upscore2": "score2", "upscore_pool4": "score4", "upscore8": "upsample"}
    arrays: Arrays = {}
    for key, array in state.items():
        layer, _, part = key.rpartition(".")
        layer = names.get(f"{layer}.weight", layer)
        if layer.startswith("upscore"):
            full = np.zeros((4, 4, *array.shape[2:]), np.float32)
            full[range(4), range(4)] = array[:, 0]
            array, layer = full, old[layer] if hyphens else layer
        arrays[f"{layer.replace('_', '-') if hyphens and 'score_' in layer else layer}.{part}"] = (
            array
        )
    return arrays


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_a_published_fcn_is_used_up(
    tmp_path: Path,
    caffemodel: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    arrays = fcn_in_caffe(name)
    model, about = load_model(caffemodel(tmp_path / "a", arrays), name, width=1 / 64)
    assert capsys.readouterr().out == ""
    assert (len(about.classes), about.arguments["at_once"]) == (4, False)
    assert model.geometry == "reference"
    np.testing.assert_array_equal(model.backbone[28].weight.numpy(), arrays["conv5_3.weight"])


def test_the_scales_of_the_one_trained_at_once(
    tmp_path: Path, caffemodel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = fcn_in_caffe("fcn8s")
    scales = {"scale_pool4.weight": np.full(8, 0.01), "scale_pool3.weight": np.full(4, 0.0001)}
    path = caffemodel(tmp_path / "a", {**arrays, **scales})
    model, _ = load_model(path, "fcn8s", width=1 / 64)
    assert capsys.readouterr().out == ""
    assert model.at_once is True
    scales["scale_pool3.weight"] *= 2
    path = caffemodel(tmp_path / "a", {**arrays, **scales})
    with pytest.raises(
        weights.WeightsError, match=r"scale_pool3\.weight is not 0\.0001 everywhere"
    ):
        load_model(path, "fcn8s", width=1 / 64)


def test_the_names_of_2015(tmp_path: Path, caffemodel: Callable[..., Path]) -> None:
    """Its upsampling was learned; what is more than bilinear by class has no place here."""
    old, new = fcn_in_caffe("fcn8s", hyphens=True), fcn_in_caffe("fcn8s")
    assert {"score-fr.weight", "score-pool4.bias", "score2.weight", "upsample.weight"} <= set(old)
    path = caffemodel(tmp_path / "a", {**old, "score2.bias": np.zeros(4)})
    model, about = load_model(path, "fcn8s", width=1 / 64)
    assert about.preprocessing == CAFFE
    np.testing.assert_array_equal(model.score_pool3.weight.numpy(), new["score_pool3.weight"])
    path = caffemodel(tmp_path / "a", {**old, "score2.bias": np.ones(4)})
    with pytest.raises(weights.WeightsError, match=r"score2\.bias is there, but upscore2\.weight"):
        load_model(path, "fcn8s", width=1 / 64)
    old["score4.weight"][0, 1] = 0.5
    with pytest.raises(weights.WeightsError, match=r"score4\.weight mixes classes"):
        load_model(caffemodel(tmp_path / "a", old), "fcn8s", width=1 / 64)
