"""SegNet and SegNet-Basic: published counts and sizes; maxima go back to where they were."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.geometry import receptive_field
from tinyfcn.models.unpooling import convolutions, encode

TINY = 1 / 64


def test_numbers_of_parameters_are_the_published_ones(without_values):
    model = models.segnet(num_classes=11)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    encoder_norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.encoder.modules())
    assert (encoder_norms, len(norms)) == (13, 25)  # all convolutions but the last
    assert sum(nn.count_parameters(m) for m in norms) == 15_872
    encoder = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert sum(nn.count_parameters(m) for m in encoder) == 14_714_688
    assert nn.count_parameters(model) == 29_449_355
    assert nn.count_parameters(models.segnet_basic(num_classes=11)) == 1_416_587


def test_keys_of_the_encoder_are_those_of_vgg16_bn():
    features = models.vgg16_bn(width=TINY).features.state_dict()
    encoder = models.segnet(width=TINY).encoder.state_dict()
    assert {k: v.shape for k, v in encoder.items()} == {k: v.shape for k, v in features.items()}


def test_channels_of_the_decoder_are_the_published_ones():
    model = models.segnet(num_classes=11, width=1 / 64)
    convolutions = [
        [m.out_channels * 64 for m in stage if isinstance(m, nn.Conv2d)] for stage in model.decoder
    ]
    assert convolutions == [[512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64]]


def test_sizes_at_360_by_480_are_the_published_ones(rng):
    model = models.segnet(width=TINY).eval()
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 360, 480)).astype(np.float32))
    with tinyfcn.no_grad():
        bottom, switches = encode(convolutions(model.encoder), x)
        assert [s.size for s in switches] == [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]
        assert bottom.shape[2:] == (12, 15)
        assert model(x).shape == (1, 11, 360, 480)


def test_the_context_of_segnet_basic_is_the_published_one():
    """The paper counts from the last encoder: 7 x 7 convolutions, pooled four times."""
    model = models.segnet_basic(width=TINY)
    layers = []
    for stage in model.encoder:
        layers += [stage[0], nn.MaxPool2d(2)]
    assert receptive_field(layers) == (106, 16)


def passing_through(model):
    """Convolutions that copy channel 0, so that only pooling and unpooling do anything."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            module.weight.data[0, 0, module.kernel_size[0] // 2, module.kernel_size[1] // 2] = 1
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return model.eval()


@pytest.mark.parametrize(
    ("make", "block"), [(models.segnet, 32), (models.segnet_basic, 16)]
)  # how many pixels are pooled into one
def test_maxima_go_back_to_where_they_were(rng, make, block):
    model = passing_through(make(num_classes=1, width=1 / 32).double())
    model.normalize = nn.Identity()
    x = rng.random((2, 3, 45, 70)) + 1.0
    expected = np.zeros((2, 1, 45, 70))
    for n in range(2):
        for i in range(0, 45, block):
            for j in range(0, 70, block):
                part = x[n, 0, i : i + block, j : j + block]
                row, column = np.unravel_index(part.argmax(), part.shape)
                expected[n, 0, i + row, j + column] = part.max()
    assert np.array_equal(model(tinyfcn.tensor(x)).numpy(), expected)


def test_the_decoder_of_segnet_basic_has_no_relu():
    model = models.segnet_basic(width=TINY)
    for stages, expected in ((model.encoder, 1), (model.decoder, 0)):
        assert [sum(isinstance(m, nn.ReLU) for m in stage) for stage in stages] == [expected] * 4
