"""DeepLab: published counts, sizes and dilations; scores lie over what they belong to."""

from fractions import Fraction

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.deeplab import upsample_from_corner
from tinyfcn.models.geometry import coordinate_map, output_size

TINY = 1 / 64


def test_numbers_of_parameters_are_the_published_ones(without_values):
    model = models.deeplab_largefov()
    assert nn.count_parameters(model.backbone) == 14_714_688
    assert nn.count_parameters(model) == 20_505_429
    head = 512 * 9 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 21 + 21
    assert nn.count_parameters(models.deeplab_aspp()) == 14_714_688 + 4 * head == 37_877_652


def test_strides_and_dilations_are_the_published_ones():
    model = models.deeplab_largefov(width=TINY)
    convolutions = [m for m in model.backbone if isinstance(m, nn.Conv2d)]
    assert [m.dilation[0] for m in convolutions] == [1] * 10 + [2] * 3
    pools = [m for m in model.backbone if isinstance(m, nn.MaxPool2d)]
    assert [m.stride[0] for m in pools] == [2, 2, 2, 1, 1]
    assert [m.kernel_size[0] for m in pools] == [3] * 5
    assert [head.fc6.dilation for head in model.heads] == [(12, 12)]
    pyramid = models.deeplab_aspp(width=TINY)
    assert [head.fc6.dilation[0] for head in pyramid.heads] == [6, 12, 18, 24]
    assert [head.fc6.padding[0] for head in pyramid.heads] == [6, 12, 18, 24]


@pytest.mark.parametrize(("n", "expected"), [(321, 41), (513, 65), (306, 40), (1, 1), (9, 2)])
def test_output_stride_8(rng, n, expected):
    model = models.deeplab_largefov(width=TINY).eval()
    assert output_size([model.backbone], n) == expected
    x = tinyfcn.tensor(rng.standard_normal((1, 3, n, 9)).astype(np.float32))
    with tinyfcn.no_grad():
        assert model.backbone(x).shape == (1, 8, expected, 2)
        assert model(x).shape == (1, 21, n, 9)


def test_scores_lie_over_their_pixels():
    """Pixel i of the features is centred over pixel 8 i, and upsampling puts it back there."""
    for make in (models.deeplab_largefov, models.deeplab_aspp):
        model = make(width=TINY)
        for head in model.heads:
            place = coordinate_map([model.backbone, head])
            assert (place.scale, place.shift) == (Fraction(1, 8), 0)
    rows, columns = np.mgrid[0:41, 0:33]
    image = tinyfcn.tensor((3.0 * rows - columns)[None, None])
    y = upsample_from_corner(image[:, :, ::8, ::8], image)
    assert np.allclose(y.numpy(), image.numpy(), rtol=0, atol=1e-12)


def test_heads_are_added(rng):
    model = models.deeplab_aspp(num_classes=2, width=TINY, rates=(1, 2)).eval()
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 17, 17)).astype(np.float32))
    features = model.backbone(x)
    together = model.heads[0](features) + model.heads[1](features)
    assert np.allclose(model(x).numpy()[:, :, ::8, ::8], together.numpy(), rtol=1e-5, atol=1e-7)


def test_errors():
    for rates in ((), (6, 0)):
        with pytest.raises(ValueError, match="deeplab_aspp: rates must be dilations of at least 1"):
            models.deeplab_aspp(rates=rates)
