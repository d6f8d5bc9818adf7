"""Dropout and batch normalization: where they stand, which evaluation does not show."""

from itertools import pairwise

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn

HALF = [0.5]
DROPOUT = {
    "fcn32s": HALF, "fcn16s": HALF, "fcn8s": HALF,  # one layer, called twice
    "alexnet": 2 * HALF, "caffenet": 2 * HALF, "vgg16": 2 * HALF, "vgg19_bn": 2 * HALF,
    "googlenet": [0.2], "resnet50": [], "segnet": [], "segnet_basic": [], "deconvnet": [],
    "unet": HALF, "deeplab_largefov": 2 * HALF, "deeplab_aspp": 8 * HALF, "parsenet": 2 * HALF,
    "dilation_context": 2 * HALF, "fcn_resnet50": [0.1, 0.1], "deeplabv3_resnet50": [0.5, 0.1],
    "pspnet": [0.1, 0.1],
}  # fmt: skip


def dropouts(model):
    """Their probabilities in the order of the keys."""
    return [m.p for m in model.modules() if isinstance(m, nn.Dropout)]


@pytest.mark.parametrize("name", DROPOUT)
def test_dropout_is_the_published_one(name):
    assert dropouts(models.create(name, width=1 / 16)) == DROPOUT[name]


def test_dropout_of_both_forms_of_googlenet():
    for form, last in (("torchvision", 0.2), ("bvlc", 0.4)):
        model = models.googlenet(width=1 / 16, form=form, aux_logits=True)
        assert dropouts(model) == [0.7, 0.7, last]


def dropped(monkeypatch, model, x):
    """Number of channels of everything that dropout is given while training."""
    channels = []
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: channels.append(x.shape[1]) or x)
    model.train()(x)
    return channels


@pytest.mark.parametrize(
    ("name", "arguments", "size", "channels"),
    [
        ("alexnet", {}, 64, [8 * 36, 128]),  # before both hidden layers
        ("caffenet", {}, 227, [128, 128]),  # after them
        ("vgg16", {}, 64, [128, 128]),
        ("fcn32s", {}, 33, [128, 128]),
        ("deeplab_largefov", {}, 33, [32, 32]),
        ("unet", {"geometry": "aligned"}, 33, [32]),  # the last map on the way down
        ("dilation_context", {}, 33, [128, 128]),
    ],
)
def test_dropout_stands_where_it_was_published(rng, monkeypatch, name, arguments, size, channels):
    model = models.create(name, width=1 / 32, **arguments)
    x = tinyfcn.tensor(rng.standard_normal((2, 3, size, size)).astype(np.float32))
    assert dropped(monkeypatch, model, x) == channels


# Name: arguments, and how many normalizations there are.
NORMALIZED = {
    "vgg16_bn": ({}, 13), "vgg19_bn": ({}, 16), "resnet18": ({}, 20), "resnet50": ({}, 53),
    "googlenet": ({}, 57), "segnet": ({}, 25), "segnet_basic": ({}, 8),
    "fcn_resnet50": ({}, 53 + 2), "deeplabv3_resnet50": ({}, 53 + 7 + 1),
    "pspnet": ({}, 53 + 5 + 1), "fcn8s": ({"batch_norm": True}, 13 + 2),
    "fcn32s": ({"batch_norm": True, "backbone": "caffenet"}, 5 + 2),
    "unet": ({"batch_norm": True}, 18), "deconvnet": ({"batch_norm": True}, 13 + 3 + 13),
    "deeplab_largefov": ({"batch_norm": True}, 13 + 2),
    "deeplab_aspp": ({"batch_norm": True}, 13 + 4 * 2), "parsenet": ({"batch_norm": True}, 13 + 2),
    "dilation_context": ({"batch_norm": True}, 13 + 2),
    "same_resolution": ({"batch_norm": True}, 8),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMALIZED)
def test_batch_norm_stands_between_convolution_and_relu(name):
    """Its settings are PyTorch's; of torchvision's models only GoogLeNet has another number."""
    arguments, count = NORMALIZED[name]
    model = models.create(name, width=1 / 16, **arguments)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == count
    assert {m.eps for m in norms} == {0.001 if name == "googlenet" else 1e-5}
    assert {m.momentum for m in norms} == {0.1}
    for chain in (m for m in model.modules() if isinstance(m, nn.Sequential)):
        for before, after in pairwise(chain):
            if isinstance(after, nn.BatchNorm2d):
                assert isinstance(before, nn.Conv2d | nn.ConvTranspose2d)
                assert after.num_features == before.out_channels
            if isinstance(before, nn.BatchNorm2d):
                assert isinstance(after, nn.ReLU)
