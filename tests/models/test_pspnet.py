"""PSPNet: its counts, its stride and its pyramid."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.pspnet import PyramidPooling


def test_numbers_of_parameters(without_values):
    """ResNet without its last layer, four 1 x 1 convolutions to 512 channels, 3 x 3 from 4096 to
    512, scores; the second head has a quarter of layer3's 1024 channels."""
    head = 4 * (2048 * 512 + 2 * 512) + 4096 * 9 * 512 + 2 * 512 + 512 * 21 + 21
    aux = 1024 * 9 * 256 + 2 * 256 + 256 * 21 + 21
    for depth, backbone in ((50, 23_508_032), (101, 42_500_160)):
        model = models.pspnet(depth=depth)
        assert nn.count_parameters(model) == backbone + head + aux
    assert 23_508_032 + head == 46_592_597
    assert nn.count_parameters(models.pspnet(aux_loss=False)) == 46_592_597
    assert aux == 2_365_205


def test_output_stride_8(rng):
    model = models.pspnet(num_classes=2, width=1 / 32).eval()
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 64, 96)).astype(np.float32))
    assert model.backbone.features(x)[-1].shape == (1, 64, 8, 12)
    assert {name: y.shape for name, y in model.outputs(x).items()} == {
        "out": (1, 2, 64, 96), "aux": (1, 2, 64, 96),
    }  # fmt: skip


def test_the_pyramid_holds_means_of_parts_of_the_image(rng):
    """Each grid copies one channel: then what it adds is that channel's mean over the parts."""
    pyramid = PyramidPooling(8).double().eval()
    for i, level in enumerate(pyramid.levels):
        nn.init.zeros_(level[1].weight)
        level[1].weight.data[0, i] = 1.0
        level[2].eps = 0.0
    x = rng.random((1, 8, 12, 18))
    y = pyramid(tinyfcn.tensor(x)).numpy()
    assert y.shape == (1, 16, 12, 18)
    assert np.array_equal(y[:, :8], x)
    assert np.allclose(y[0, 8], x[0, 0].mean())
    for i, bins in enumerate((1, 2, 3, 6)):
        parts = x[0, i].reshape(bins, 12 // bins, bins, 18 // bins).mean((1, 3))
        # At the corners bilinear upsampling repeats the outermost part.
        corners = y[0, 8 + 2 * i][[0, 0, -1, -1], [0, -1, 0, -1]]
        assert np.allclose(corners, parts[[0, 0, -1, -1], [0, -1, 0, -1]])
        assert not y[0, 9 + 2 * i].any()


def test_errors():
    with pytest.raises(ValueError, match="pspnet: depth must be 50 or 101, got 18"):
        models.pspnet(depth=18)
