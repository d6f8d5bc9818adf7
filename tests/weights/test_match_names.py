"""Names and shapes of other frameworks, matched to those of our models."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfcn import models, nn, weights
from tinyfcn.weights.match_names import for_channels, match_names

WIDTH = 1 / 32
# VGG16's convolutions in Caffe and MatConvNet, and their numbers in torchvision.
VGG16 = [f"conv{stage}_{i}" for stage, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
RNG = np.random.default_rng(0)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in model.state_dict().items()}


def caffe_vgg(fcn: nn.Module, flat: bool = True) -> dict[str, np.ndarray]:
    """Caffe's names for the backbone, fc6 and fc7 of an FCN."""
    state = fcn.state_dict()
    names = dict(zip(VGG16, (f"backbone.{n}" for n in NUMBERS), strict=True))
    arrays = {}
    for theirs, ours in {**names, "fc6": "fc6", "fc7": "fc7"}.items():
        for part in ("weight", "bias"):
            array = RNG.normal(size=state[f"{ours}.{part}"].shape).astype(np.float32)
            if theirs.startswith("fc") and part == "weight" and flat:
                array = array.reshape(len(array), -1)
            arrays[f"{theirs}.{part}"] = array
    return arrays


@pytest.mark.parametrize("flat", [True, False])
def test_caffe_vgg16_into_an_fcn(flat: bool) -> None:
    model = models.fcn32s(num_classes=3, width=WIDTH)
    arrays = caffe_vgg(model, flat)
    arrays["fc8.weight"] = np.ones((1000, 128), np.float32)
    found = match_names(shapes(model), arrays)
    np.testing.assert_array_equal(found.arrays["backbone.28.weight"], arrays["conv5_3.weight"])
    np.testing.assert_array_equal(found.arrays["backbone.5.bias"], arrays["conv2_1.bias"])
    fc6, flat6 = found.arrays["fc6.weight"], arrays["fc6.weight"].reshape(128, -1)
    assert fc6.shape == (128, 16, 7, 7)
    assert fc6[5, 3, 2, 6] == flat6[5, 3 * 49 + 2 * 7 + 6]
    assert found.new == ["score_fr.weight", "score_fr.bias", "upscore.weight"]
    assert found.unused == ["fc8.weight"]


def test_into_a_backbone_with_batch_normalization() -> None:
    model = models.fcn32s(num_classes=3, width=WIDTH, batch_norm=True)
    plain = models.fcn32s(num_classes=3, width=WIDTH)
    found = match_names(shapes(model), arrays := caffe_vgg(plain))
    np.testing.assert_array_equal(found.arrays["backbone.40.weight"], arrays["conv5_3.weight"])


def test_torchvision_vgg16_into_an_fcn_and_back() -> None:
    fcn, vgg = models.fcn32s(width=WIDTH), models.vgg16(width=WIDTH)
    state = vgg.state_dict()
    found = match_names(shapes(fcn), state)
    assert len(found.arrays) == 2 * 15
    np.testing.assert_array_equal(found.arrays["backbone.28.weight"], state["features.28.weight"])
    np.testing.assert_array_equal(
        found.arrays["fc6.weight"].ravel(), state["classifier.0.weight"].ravel()
    )
    np.testing.assert_array_equal(found.arrays["fc7.bias"], state["classifier.3.bias"])
    assert found.unused == ["classifier.6.weight", "classifier.6.bias"]


def test_caffe_vgg16_into_the_classifier() -> None:
    vgg, fcn = models.vgg16(num_classes=10, width=WIDTH), models.fcn32s(width=WIDTH)
    arrays = caffe_vgg(fcn)
    arrays["fc8.weight"] = np.ones((10, 128), np.float32)
    arrays["fc8.bias"] = np.ones((1, 1, 1, 10), np.float32)
    found = match_names(shapes(vgg), arrays)
    assert not found.new
    assert not found.unused
    vgg.load_state_dict(found.arrays)


def test_the_published_upsampling_goes_class_by_class() -> None:
    kernel = np.outer(*[[0.25, 0.75, 0.75, 0.25]] * 2)
    full = np.zeros((3, 3, 4, 4))
    full[range(3), range(3)] = kernel
    found = match_names({"upscore2.weight": (3, 1, 4, 4)}, {"upscore2.weight": full})
    np.testing.assert_array_equal(found.arrays["upscore2.weight"], np.stack([kernel[None]] * 3))
    full[0, 1, 2, 2] = 1e-3
    with pytest.raises(weights.WeightsError, match=r"upscore2\.weight mixes classes"):
        match_names({"upscore2.weight": (3, 1, 4, 4)}, {"upscore2.weight": full})


def test_another_number_of_classes_is_said_in_one_line() -> None:
    model, other = (models.fcn32s(num_classes=n, width=WIDTH) for n in (3, 21))
    found = match_names(shapes(model), other.state_dict())
    assert list(found.anew) == [
        "score_fr.weight",
        "score_fr.bias",
        "upscore.weight",
    ]
    assert str(found) == (
        "30 of 33 arrays copied; made anew for 3 classes (the file has 21): score_fr.weight, "
        "score_fr.bias, upscore.weight; not used: score_fr.weight, score_fr.bias, upscore.weight"
    )


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "net.module.", "state_dict.ema."])
def test_what_wrappers_put_before_names(prefix: str) -> None:
    """Beside an optimizer's arrays, and under the names of another framework."""
    model = models.fcn32s(num_classes=3, width=WIDTH)
    rest = {f"optimizer.state.{i}.{key}": np.ones(2) for i in range(26) for key in "abc"}
    for arrays, count in ((model.state_dict(), 33), (caffe_vgg(model), 30)):
        wrapped = {prefix + name: array for name, array in arrays.items()}
        found = match_names(shapes(model), {**wrapped, **rest})
        assert len(found.arrays) == count
        assert set(found.unused) == rest.keys()
        np.testing.assert_array_equal(found.arrays["fc7.bias"], wrapped[f"{prefix}fc7.bias"])


def test_names_are_taken_as_they_are_where_they_fit() -> None:
    arrays = {"backbone.0.weight": np.ones((2, 3)), "backbone.1.weight": np.ones((2, 3))}
    found = match_names({"backbone.0.weight": (2, 3), "0.weight": (2, 3)}, arrays)
    assert list(found.arrays) == ["backbone.0.weight"]


def test_other_widths_and_backbones_are_rejected() -> None:
    narrow, wide = (shapes(models.fcn32s(width=width)) for width in (1 / 64, 1 / 32))
    arrays = {name: np.zeros(shape, np.float32) for name, shape in wide.items()}
    with pytest.raises(
        weights.WeightsError, match=r"backbone\.2\.weight is \(2, 2, 3, 3\), but.*more"
    ):
        match_names(narrow, arrays)
    with pytest.raises(weights.WeightsError, match=r"features\.0\.weight is \(2, 3, 11, 11\)"):
        match_names(wide, {"features.0.weight": np.zeros((2, 3, 11, 11), np.float32)})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1/7x7_s2", "backbone.conv1.conv"),
        ("conv2/3x3_reduce", "conv2.conv"),
        ("inception_3a/1x1", "inception3a.branch1.conv"),
        ("inception_4e/5x5_reduce", "backbone.inception4e.branch3.0.conv"),
        ("inception_5b/pool_proj", "inception5b.branch4.1.conv"),
        ("loss3/classifier", "fc"),
        ("loss2/fc", "aux2.fc1"),
        ("conv1", "backbone.conv1"),  # CaffeNet
        ("features.10", "backbone.10"),  # torchvision's AlexNet
        ("layer1.0.conv1", "backbone.layer1.0.conv1"),  # torchvision's ResNet
        ("classifier.4", "fc7"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    found = match_names({f"{ours}.weight": (2, 3)}, {f"{theirs}.weight": np.ones((2, 3))})
    assert list(found.arrays) == [f"{ours}.weight"]


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_a_first_layer_for_rgb_becomes_one_for_other_channels(channels: int) -> None:
    vgg, fcn = models.vgg16(width=WIDTH), models.create("fcn32s", width=WIDTH, in_channels=channels)
    state = vgg.state_dict()
    found = match_names(shapes(fcn), state)
    first = found.arrays["backbone.0.weight"]
    own = {1: "their sum"}.get(channels, f"each in turn, times 3/{channels}")
    line = f"30 of 33 arrays copied; backbone.0.weight made of kernels for RGB: {own}; new:"
    assert str(found).startswith(line)
    assert first.shape[1] == channels and first.dtype == np.float32
    reversed_ = match_names(shapes(fcn), state, bgr=True).arrays["backbone.0.weight"]
    np.testing.assert_array_equal(
        reversed_, for_channels(state["features.0.weight"][:, ::-1], channels)
    )
    np.testing.assert_array_equal(first, for_channels(state["features.0.weight"], channels))


def test_what_is_grey_gives_what_it_gave() -> None:
    kernels, grey = RNG.normal(size=(5, 3, 3, 3)), RNG.normal(size=(3, 3))
    before = (kernels * grey).sum(axis=(1, 2, 3))
    for channels in (1, 3, 6):
        after = (for_channels(kernels, channels) * grey).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(after, before)
    four = for_channels(kernels, 4)
    np.testing.assert_allclose(four[:, 3], kernels[:, 0] * 0.75)
    np.testing.assert_allclose(four[:, 2], kernels[:, 2] * 0.75)
