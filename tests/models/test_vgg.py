"""VGG: torchvision's keys, shapes and numbers of parameters."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.backbones.vgg import VGGBackbone

# torchvision's table: (index, out, in) of the convolutions of `features`.
CONVOLUTIONS = [
    (0, 64, 3), (2, 64, 64), (5, 128, 64), (7, 128, 128), (10, 256, 128), (12, 256, 256),
    (14, 256, 256), (17, 512, 256), (19, 512, 512), (21, 512, 512), (24, 512, 512),
    (26, 512, 512), (28, 512, 512),
]  # fmt: skip
WITH_BATCH_NORM = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
LINEAR = {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}


def shapes(width=1.0):
    expected = {}
    for index, out, before in CONVOLUTIONS:
        before = before if before == 3 else int(before * width)
        expected[f"features.{index}.weight"] = (int(out * width), before, 3, 3)
        expected[f"features.{index}.bias"] = (int(out * width),)
    for index, (out, before) in LINEAR.items():
        out = out if index == 6 else int(out * width)
        expected[f"classifier.{index}.weight"] = (out, int(before * width))
        expected[f"classifier.{index}.bias"] = (out,)
    return expected


def test_keys_and_shapes_are_torchvisions(without_values):
    # The shapes of full width need no half a gigabyte of random numbers.
    model = models.vgg16()
    assert {name: p.shape for name, p in model.named_parameters()} == shapes()
    assert nn.count_parameters(model) == 138_357_544


def test_batch_norm_stands_after_each_convolution():
    model = models.vgg16_bn(width=1 / 16)
    features = dict(model.features.named_children())
    convolutions = [int(k) for k, m in features.items() if isinstance(m, nn.Conv2d)]
    assert convolutions == WITH_BATCH_NORM
    assert all(isinstance(features[str(i + 1)], nn.BatchNorm2d) for i in convolutions)
    assert "features.1.running_var" in model.state_dict()


# torchvision's letters A, B, D, E: channels of the convolutions, M for a pooling.
CONFIGURATIONS = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
PARAMETERS = {
    (11, False): 132_863_336, (11, True): 132_868_840, (13, False): 133_047_848,
    (13, True): 133_053_736, (16, False): 138_357_544, (16, True): 138_365_992,
    (19, False): 143_667_240, (19, True): 143_678_248,
}  # fmt: skip


@pytest.mark.parametrize(("depth", "batch_norm"), PARAMETERS)
def test_every_depth_has_torchvisions_keys_and_count(without_values, depth, batch_norm):
    model = getattr(models, f"vgg{depth}" + "_bn" * batch_norm)()
    expected, index, before = {}, 0, 3
    for item in CONFIGURATIONS[depth].split():
        if item == "M":
            assert isinstance(model.features[index], nn.MaxPool2d)
            index += 1
            continue
        expected[f"features.{index}.weight"] = (int(item), before, 3, 3)
        expected[f"features.{index}.bias"] = (int(item),)
        if batch_norm:
            for name in ("weight", "bias", "running_mean", "running_var"):
                expected[f"features.{index + 1}.{name}"] = (int(item),)
            expected[f"features.{index + 1}.num_batches_tracked"] = ()
        index, before = index + 2 + batch_norm, int(item)
    for index, shape in LINEAR.items():
        expected[f"classifier.{index}.weight"] = shape
        expected[f"classifier.{index}.bias"] = shape[:1]
    assert {name: tensor.shape for name, tensor in model.state_tensors().items()} == expected
    assert nn.count_parameters(model) == PARAMETERS[depth, batch_norm]


def test_width_scales_everything_but_the_classes():
    model = models.vgg16(width=1 / 8)
    assert {name: p.shape for name, p in model.named_parameters()} == shapes(1 / 8)


def test_it_classifies_224_and_other_sizes(rng):
    model = models.vgg16(num_classes=5, width=1 / 64).eval()
    for size in (224, 64):
        x = tinyfcn.tensor(rng.standard_normal((2, 3, size, size)).astype(np.float32))
        assert model(x).shape == (2, 5)


def test_pools_are_where_the_backbone_says(rng):
    backbone = models.vgg16(width=1 / 64, num_classes=1).features
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 64, 96)).astype(np.float32))
    pools = backbone.features(x)
    assert backbone.ends == (4, 9, 16, 23, 30)
    assert [p.shape for p in pools] == [
        (1, c, 64 // s, 96 // s) for c, s in zip((1, 2, 4, 8, 8), (2, 4, 8, 16, 32), strict=True)
    ]
    assert np.array_equal(pools[-1].numpy(), backbone(x).numpy())
    assert np.array_equal(pools[2].numpy(), nn.Sequential(*backbone.stages()[:3])(x).numpy())


def test_errors():
    with pytest.raises(ValueError, match="vgg16: num_classes must be at least 1, got 0"):
        models.vgg16(num_classes=0)
    with pytest.raises(ValueError, match="vgg19_bn: num_classes must be at least 1, got -1"):
        models.vgg19_bn(num_classes=-1)
    with pytest.raises(ValueError, match="depth must be 11, 13, 16 or 19, got 12"):
        VGGBackbone(depth=12)
    with pytest.raises(ValueError, match=r"width 0.001 leaves 0 of 64 channels"):
        models.vgg16(width=0.001)
    with pytest.raises(ValueError, match=r"width -1 leaves -64 of 64 channels"):
        models.vgg16(width=-1)


def test_models_are_made_by_name():
    assert set(models.names()) >= {"fcn32s", "fcn16s", "fcn8s", "vgg16", "vgg16_bn"}
    model = models.create("fcn16s", num_classes=4, width=1 / 64)
    assert (model.name, model.num_classes) == ("fcn16s", 4)
    with pytest.raises(ValueError, match=r"expected one of fcn32s, .*, got 'fcn4s'"):
        models.create("fcn4s")


@pytest.mark.parametrize("name", models.names())
def test_arguments_that_a_model_does_not_have_are_named(name):
    with pytest.raises(
        TypeError, match=f"{name}: expected arguments .*num_classes.*, got 'num_clases'"
    ):
        models.create(name, num_clases=3)
