"""Every classifier becomes a map of scores.

Where a network pads, a crop has zeros beyond its border and the large image has pixels there, so
the map is not that of separate crops. Two things are exact all the same, and tested: without the
padding it is; and with it, each score is what the classifier's head says of its window of the
large image's features.
"""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.convolutionalize import GlobalAvgPool2d
from tinyfcn.models.geometry import output_size, receptive_field

# Name: arguments, native size of images, side of the map that the head is given.
CLASSIFIERS = {
    "alexnet": ({"width": 1 / 32}, 224, 6),
    "caffenet": ({"width": 1 / 32}, 227, 6),
    "vgg11": ({"width": 1 / 64}, 224, 7),
    "vgg13_bn": ({"width": 1 / 64}, 224, 7),
    "vgg16": ({"width": 1 / 64}, 224, 7),
    "vgg19_bn": ({"width": 1 / 64}, 224, 7),
    "googlenet": ({"width": 1 / 16}, 224, 7),
    "googlenet bvlc": ({"width": 1 / 16, "form": "bvlc", "aux_logits": True}, 224, 7),
    "resnet18": ({"width": 1 / 32}, 224, 7),
    "resnet34": ({"width": 1 / 32}, 224, 7),
    "resnet50": ({"width": 1 / 32}, 224, 7),
    "resnet101": ({"width": 1 / 32}, 224, 7),
}
HEAD = ("avgpool", "flatten")  # whichever comes first begins the head


def make(name):
    arguments, *_ = CLASSIFIERS[name]
    return getattr(models, name.split()[0])(num_classes=4, **arguments).double().eval()


def cut(network):
    """The layers before the head, and the head."""
    layers = dict((network.chain() if hasattr(network, "chain") else network).named_children())
    names = list(layers)
    at = min(names.index(name) for name in HEAD if name in names)
    return nn.Sequential(*list(layers.values())[:at]), nn.Sequential(*list(layers.values())[at:])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_each_score_is_the_heads_answer_to_its_window(rng, name):
    _, native, side = CLASSIFIERS[name]
    classifier = make(name)
    dense = models.convolutionalize(classifier)
    assert list(dense.state_dict()) == [k for k in classifier.state_dict() if k[:3] != "aux"]
    backbone, head = cut(classifier)
    assert output_size([backbone], native) == side

    x = rng.standard_normal((1, 3, native + 40, native + 75))
    with tinyfcn.no_grad():
        features = backbone(tinyfcn.tensor(x))
        scores = dense(tinyfcn.tensor(x)).numpy()
        assert scores.shape == (1, 4, features.shape[2] - side + 1, features.shape[3] - side + 1)
        assert min(scores.shape[2:]) >= 2
        for i in range(scores.shape[2]):
            for j in range(scores.shape[3]):
                window = features[:, :, i : i + side, j : j + side]
                expected = head(window).numpy()
                assert np.allclose(scores[:, :, i, j], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_one_score_at_the_native_size_is_the_classifiers(rng, name):
    _, native, _ = CLASSIFIERS[name]
    classifier = make(name)
    x = tinyfcn.tensor(rng.standard_normal((1, 3, native, native)))
    with tinyfcn.no_grad():
        scores = models.convolutionalize(classifier)(x).numpy()
        assert scores.shape == (1, 4, 1, 1)
        assert np.allclose(scores[:, :, 0, 0], classifier(x).numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["alexnet", "caffenet", "vgg11", "vgg16", "googlenet bvlc"])
def test_without_padding_the_map_is_that_of_sliding_crops(rng, name):
    """The real layers, but for their padding; the head is made for the smaller map they leave."""
    backbone, head = cut(make(name))
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.padding = (0, 0)
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = False
    if name == "googlenet bvlc":  # its branches shrink by different amounts, unless all are narrow
        for block in (m for m in backbone if isinstance(m, models.backbones.googlenet.Inception)):
            for branch in (block.branch2, block.branch3):
                layer = branch[1].conv
                layer.weight.data = np.ascontiguousarray(layer.weight.data[:, :, :1, :1])
                layer.kernel_size = (1, 1)
            block.branch4[0].kernel_size = (1, 1)
    field, stride = receptive_field([backbone])
    native = field + stride
    assert [output_size([backbone], n) for n in (field, native - 1, native)] == [1, 1, 2]
    channels = backbone(tinyfcn.tensor(np.zeros((1, 3, native, native)))).shape[1]
    if name == "googlenet bvlc":
        head = nn.Sequential(GlobalAvgPool2d(2), nn.Flatten(), nn.Linear(channels, 3))
    else:
        head = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * 4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3)
        )
    classifier = nn.Sequential(*backbone, *head).double().eval()
    dense = models.convolutionalize(classifier)
    x = rng.standard_normal((1, 3, native + stride, native + 2 * stride + 3))
    with tinyfcn.no_grad():
        scores = dense(tinyfcn.tensor(x)).numpy()
        assert scores.shape == (1, 3, 2, 3)
        assert scores.std((2, 3)).min() > 0
        for i in range(2):
            for j in range(3):
                crop = x[:, :, i * stride :, j * stride :][:, :, :native, :native]
                expected = classifier(tinyfcn.tensor(crop)).numpy()
                assert np.allclose(scores[:, :, i, j], expected, rtol=1e-9, atol=1e-9)


def test_a_map_size_that_is_given_goes_before_the_native_one():
    classifier = models.resnet18(num_classes=4, width=1 / 32).eval()
    dense = models.convolutionalize(classifier, map_size=3)
    assert dense.avgpool.kernel_size == (3, 3)
    assert dense(tinyfcn.tensor(np.zeros((1, 3, 96, 160), np.float32))).shape == (1, 4, 1, 3)


def test_blocks_inside_chains_say_how_many_channels_they_have():
    """The last convolution of an inception block is one of four branches, not its output."""
    classifier = models.googlenet(num_classes=4, width=1 / 16)
    inner, _ = cut(classifier)
    nested = nn.Sequential(inner, nn.Flatten(), nn.Linear(64 * 3 * 3, 5)).eval()
    dense = models.convolutionalize(nested)
    assert dense[2].weight.shape == (5, 64, 3, 3)
