"""Networks of torchvision and Caffe: names and shapes, where they go here, and what is left."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tinyfcn
from tinyfcn import backend, models, weights
from tinyfcn.data import CAFFE, TORCHVISION
from tinyfcn.training.published import load_model
from tinyfcn.weights import safetensors
from tinyfcn.weights.images import CAFFE_VGG, TORCHVISION_GOOGLENET, pytorch

# torchvision 0.28, with and without the auxiliary heads where there are any: number of arrays, and
# the beginning of the SHA-256 of the sorted lines "name shape" of its state_dict.
TORCHVISIONS = {
    ("alexnet", None): (16, "935c1ea73a7869ee"),
    ("vgg11", None): (22, "b11acd4f90d9643f"),
    ("vgg11_bn", None): (62, "56ed5816909a8132"),
    ("vgg13", None): (26, "79ca8fd7a1480aa7"),
    ("vgg13_bn", None): (76, "e4f52ce016e5e82f"),
    ("vgg16", None): (32, "ba63c2556d912509"),
    ("vgg16_bn", None): (97, "86bad13b66635552"),
    ("vgg19", None): (38, "393fac8b08b63fbe"),
    ("vgg19_bn", None): (118, "faf0fdbb92f698c6"),
    ("resnet18", None): (122, "5191d63ec3989592"),
    ("resnet34", None): (218, "f8de2a1812ef85e4"),
    ("resnet50", None): (320, "a87e91cd6bd1f939"),
    ("resnet101", None): (626, "dbc3ca74fffafc72"),
    ("googlenet", False): (344, "545eb1baab91f5d8"),
    ("googlenet", True): (364, "de3745733576b3b1"),
    ("fcn_resnet50", False): (326, "dd1f3c2b36c546e5"),
    ("fcn_resnet50", True): (334, "32ae09a78cb8d99b"),
    ("fcn_resnet101", False): (632, "d0fdb3d9a74a838d"),
    ("fcn_resnet101", True): (640, "2a072bbc3273fe85"),
    ("deeplabv3_resnet50", False): (362, "c9ae1f13acba02d5"),
    ("deeplabv3_resnet50", True): (370, "52394066aeb32367"),
    ("deeplabv3_resnet101", False): (668, "91387bdbe47b0ac2"),
    ("deeplabv3_resnet101", True): (676, "7d712749fb30c3c2"),
}
VGG16 = [f"conv{stage}_{i}" for stage, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]

Arrays = dict[str, NDArray[Any]]


def zeros(name: str, **arguments: Any) -> Arrays:
    """The arrays of a network at full width, without their memory."""
    with backend.using("meta"):
        state = models.create(name, **arguments).state_tensors()
    zero = np.zeros((), np.float32)
    return {key: np.broadcast_to(zero, tensor.shape) for key, tensor in state.items()}


def shapes(name: str, **arguments: Any) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in zeros(name, **arguments).items()}


def caffe_vgg16() -> Arrays:
    arrays = zeros("vgg16")
    layers = [key.removesuffix(".weight") for key in arrays if key.endswith(".weight")]
    names = zip([*VGG16, "fc6", "fc7", "fc8"], layers, strict=True)
    parts = ("weight", "bias")
    return {f"{there}.{part}": arrays[f"{here}.{part}"] for there, here in names for part in parts}


def aux(name: str, wanted: bool | None) -> dict[str, bool]:
    key = "aux_logits" if name == "googlenet" else "aux_loss"
    return {} if wanted is None else {key: wanted}


@pytest.mark.parametrize(("name", "heads"), TORCHVISIONS)
def test_names_and_shapes_are_torchvisions(name: str, heads: bool | None) -> None:
    mine = shapes(name, **aux(name, heads))
    lines = "\n".join(f"{key} {shape}" for key, shape in sorted(mine.items()))
    digest = hashlib.sha256(lines.encode()).hexdigest()[:16]
    assert (len(mine), digest) == TORCHVISIONS[name, heads]


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("name", ["vgg13_bn", "googlenet", "resnet18", "deeplabv3_resnet50"])
def test_a_file_fills_its_network(name: str, counters: bool) -> None:
    """Files of before PyTorch 1.0 have no num_batches_tracked."""
    arrays = {k: v for k, v in zeros(name).items() if counters or "num_batches" not in k}
    found = weights.match_names(shapes(name), arrays)
    assert (found.new, found.unused, len(found.arrays)) == ([], [], len(arrays))


HEAD_AND_AUX = "aux_classifier.* (7 arrays); not used: fc.weight, fc.bias"
SCORES_32 = "new: score_fr.weight, score_fr.bias, upscore.weight"
SCORES_8 = (
    "score_fr.weight, score_fr.bias, score_pool4.weight, score_pool4.bias, upscore2.weight, "
    "score_pool3.weight, score_pool3.bias, upscore_pool4.weight, upscore8.weight"
)
FC8 = "not used: classifier.6.weight, classifier.6.bias"
SMALLER = "is (1024, 512, 3, 3) here and (4096, 25088) in the file"


@pytest.mark.parametrize(
    ("classifier", "network", "arguments", "line"),
    [
        ("resnet50", "fcn_resnet50", {},
         f"318 of 332 arrays copied; new: classifier.* (7 arrays), {HEAD_AND_AUX}"),
        ("resnet50", "deeplabv3_resnet50", {},
         f"318 of 362 arrays copied; new: classifier.* (37 arrays), {HEAD_AND_AUX}"),
        ("resnet101", "pspnet", {"depth": 101},
         f"624 of 658 arrays copied; new: classifier.* (27 arrays), {HEAD_AND_AUX}"),
        ("resnet50", "fcn32s", {"backbone": "resnet50"},
         f"318 of 321 arrays copied; {SCORES_32}; not used: fc.weight, fc.bias"),
        ("googlenet", "fcn32s", {"backbone": "googlenet", "batch_norm": True},
         f"342 of 345 arrays copied; {SCORES_32}; not used: fc.weight, fc.bias"),
        ("alexnet", "fcn32s", {"backbone": "alexnet"},
         f"14 of 17 arrays copied; {SCORES_32}; {FC8}"),
        ("alexnet", "fcn32s", {"backbone": "alexnet", "batch_norm": True},
         "14 of 45 arrays copied; new: backbone.* (20 arrays), bn6.* (4 arrays), bn7.* (4 arrays), "
         f"{SCORES_32.removeprefix('new: ')}; {FC8}"),
        ("caffenet", "fcn32s", {"backbone": "caffenet"},
         f"14 of 17 arrays copied; {SCORES_32}; not used: fc8.weight, fc8.bias"),
        ("vgg16", "fcn8s", {}, f"30 of 39 arrays copied; new: {SCORES_8}; {FC8}"),
        ("vgg19", "fcn8s", {"backbone": "vgg19"},
         f"36 of 45 arrays copied; new: {SCORES_8}; {FC8}"),
        ("vgg16", "segnet", {},
         "26 of 152 arrays copied; new: encoder.* (52 arrays), decoder.* (72 arrays), "
         "score.weight, score.bias; not used: classifier.* (6 arrays)"),
        ("vgg16_bn", "segnet", {},
         "91 of 165 arrays copied; new: decoder.* (72 arrays), score.weight, score.bias; "
         "not used: classifier.* (6 arrays)"),
        ("vgg16", "deconvnet", {},
         "30 of 60 arrays copied; new: fc6_deconv.0.weight, fc6_deconv.0.bias, "
         f"decoder.* (26 arrays), score.weight, score.bias; {FC8}"),
        ("vgg16", "deeplab_largefov", {},
         f"26 of 32 arrays copied; made anew since heads.0.fc6.weight {SMALLER}: heads.* (4 arrays)"
         "; new: heads.0.fc8.weight, heads.0.fc8.bias; not used: classifier.* (6 arrays)"),
        ("vgg16", "parsenet", {},
         f"26 of 34 arrays copied; made anew since head.fc6.weight {SMALLER}: head.* (4 arrays); "
         "new: local_norm.weight, global_norm.weight, score.weight, score.bias; "
         "not used: classifier.* (6 arrays)"),
        ("vgg16", "dilation_context", {},
         "30 of 48 arrays copied; new: head.6.weight, head.6.bias, context.* (16 arrays); " + FC8),
    ],
)  # fmt: skip
def test_a_network_begins_with_a_classifier(
    classifier: str, network: str, arguments: dict[str, Any], line: str
) -> None:
    assert str(weights.match_names(shapes(network, **arguments), zeros(classifier))) == line


@pytest.mark.parametrize(
    "network", ["segnet", "deconvnet", "deeplab_aspp", "dilation_context", "parsenet"]
)
def test_caffes_vgg16_goes_where_torchvisions_goes(network: str) -> None:
    mine = shapes(network)
    found, other = (weights.match_names(mine, arrays) for arrays in (caffe_vgg16(), zeros("vgg16")))
    assert list(found.arrays) == list(other.arrays)
    assert found.new == other.new


def test_layers_keep_their_order_where_only_one_side_has_batch_normalization() -> None:
    theirs = zeros("vgg16_bn", width=1 / 16)
    marked = {
        key: np.full(array.shape, i, np.float32) for i, (key, array) in enumerate(theirs.items())
    }
    # torchvision's numbers of conv1_2, of its batch normalization, and of conv5_3.
    found = weights.match_names(shapes("segnet", width=1 / 16), marked).arrays
    for there, here in (("3.weight", "3.weight"), ("4.running_var", "4.running_var")):
        np.testing.assert_array_equal(found[f"encoder.{here}"], marked[f"features.{there}"])
    plain = weights.match_names(shapes("deconvnet", width=1 / 16), marked).arrays
    for there, here in ((3, 2), (40, 28)):
        np.testing.assert_array_equal(
            plain[f"encoder.{here}.bias"], marked[f"features.{there}.bias"]
        )
    back = weights.match_names(shapes("vgg16_bn", width=1 / 16), plain).arrays
    np.testing.assert_array_equal(back["features.40.bias"], marked["features.40.bias"])


def test_a_network_without_the_bias_of_the_file_is_another_network() -> None:
    arrays = {"conv1.weight": np.ones((2, 3, 1, 1)), "conv1.bias": np.ones(2)}
    mine = {"conv1.weight": (2, 3, 1, 1)}
    with pytest.raises(weights.WeightsError, match=r"conv1\.bias is there, but conv1\.weight of"):
        weights.match_names(mine, arrays)
    assert weights.match_names(mine, {**arrays, "conv1.bias": np.zeros(2)}).unused == ["conv1.bias"]


@pytest.mark.parametrize("name", [n for n in models.names() if not models.is_classifier(n)])
def test_the_number_of_classes_is_that_of_the_file(name: str) -> None:
    mine, one_more = (shapes(name, num_classes=n) for n in (2, 3))
    for classes in (1, 7, 150):
        arrays = zeros(name, num_classes=classes)
        assert weights.count_classes(mine, one_more, arrays) == classes
    assert weights.count_classes(mine, one_more, {"other": np.ones(5)}) is None


def write(path: Path, name: str, **arguments: Any) -> Path:
    """A network in a file that does not say which network it is."""
    tinyfcn.manual_seed(0)
    state = models.create(name, **arguments).state_dict()
    path.write_bytes(b"".join(safetensors.dump(state)))
    return path


@pytest.mark.parametrize(
    ("name", "made", "given"),
    [
        ("pspnet", {"depth": 101, "aux_loss": False, "width": 1 / 64}, {"width": 1 / 64}),
        ("deeplabv3_resnet50", {"aux_loss": True, "width": 1 / 64}, {"width": 1 / 64}),
        ("unet", {"batch_norm": True, "width": 1 / 32}, {"width": 1 / 32}),
        ("dilation_context", {"context": None, "width": 1 / 64}, {"width": 1 / 64}),
        ("dilation_context", {"context": "large", "width": 1 / 64}, {"width": 1 / 64}),
        ("same_resolution", {"depth": 3, "width": 1 / 8}, {"width": 1 / 8, "depth": 3}),
        ("fcn8s", {"backbone": "googlenet", "batch_norm": True, "width": 1 / 16},
         {"backbone": "googlenet", "width": 1 / 16}),
        ("googlenet", {"form": "bvlc", "aux_logits": True, "width": 1 / 16}, {"width": 1 / 16}),
        ("alexnet", {"width": 1 / 32}, {"width": 1 / 32}),
    ],
)  # fmt: skip
def test_a_file_tells_the_arguments_of_its_network(
    tmp_path: Path, name: str, made: dict[str, Any], given: dict[str, Any]
) -> None:
    path = write(tmp_path / "a", name, num_classes=3, **made)
    model, about = load_model(path, name, **given)
    assert len(about.classes) == 3
    assert about.arguments.items() >= made.items()
    assert about.arguments.get("geometry", "aligned") == "aligned"
    state = model.state_dict()
    for key, array in weights.load(path).items():
        np.testing.assert_array_equal(state[key], array)


def test_preprocessing_by_the_names() -> None:
    assert pytorch(zeros("resnet18")) == pytorch(zeros("deeplabv3_resnet50")) == TORCHVISION
    assert pytorch(zeros("googlenet")) == TORCHVISION_GOOGLENET
    assert pytorch(zeros("fcn32s", backbone="googlenet", batch_norm=True)) == TORCHVISION_GOOGLENET
    assert pytorch(caffe_vgg16()) == CAFFE_VGG
    assert pytorch([*caffe_vgg16(), "score_fr.weight"]) == CAFFE  # wkentaro's conversions


def test_torchvisions_googlenet_prepares_its_images_twice() -> None:
    """Normalized as for all of torchvision's networks, then as its transform_input has it."""
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    once = TORCHVISION.apply(image)
    mean, std = np.array(TORCHVISION.mean), np.array(TORCHVISION.std)
    twice = once * (std / 0.5)[:, None, None] + ((mean - 0.5) / 0.5)[:, None, None]
    np.testing.assert_allclose(TORCHVISION_GOOGLENET.apply(image), twice, atol=1e-6)
