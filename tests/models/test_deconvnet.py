"""DeconvNet: published counts and sizes; the decoder mirrors the encoder."""

import numpy as np

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.unpooling import convolutions, encode

TINY = 1 / 64


def test_numbers_of_parameters_are_the_published_ones(without_values):
    model = models.deconvnet()
    assert nn.count_parameters(model) == 251_772_245
    counts = {name: nn.count_parameters(part) for name, part in model.named_children()}
    assert (counts["fc6"], counts["fc7"]) == (102_764_544, 16_781_312)
    normalized = models.deconvnet(batch_norm=True)
    assert nn.count_parameters(normalized) == 251_772_245 + 33_408


def test_channels_of_the_decoder_are_the_published_ones():
    model = models.deconvnet(width=TINY)
    layers = [[m for m in s if isinstance(m, nn.ConvTranspose2d)] for s in model.decoder]
    channels = [[m.out_channels * 64 for m in stage] for stage in layers]
    assert channels == [[512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64, 64]]
    assert all((m.kernel_size, m.padding) == ((3, 3), (1, 1)) for s in layers for m in s)


def test_sizes_at_224_are_the_published_ones(rng):
    model = models.deconvnet(width=TINY).eval()
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 224, 224)).astype(np.float32))
    with tinyfcn.no_grad():
        y, switches = encode(convolutions(model.encoder), x)
        assert [s.size[0] for s in switches] == [224, 112, 56, 28, 14]
        assert y.shape == (1, 8, 7, 7)
        y = model.fc7(model.fc6(y))
        assert y.shape == (1, 64, 1, 1)
        assert model.fc6_deconv(y).shape == (1, 8, 7, 7)
        assert model(x).shape == (1, 21, 224, 224)


def test_unpooling_uses_the_indices_of_its_own_pooling(rng):
    """With transposed convolutions that copy channel 0, values stand only where the poolings found
    their maxima: one pixel in every 32 x 32."""
    model = models.deconvnet(num_classes=1, width=1 / 32).double().eval()
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            module.weight.data[0, 0, 1, 1] = 1
    for module in model.decoder.modules():
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.zeros_(module.weight)
            module.weight.data[0, 0, 1, 1] = 1
    nn.init.zeros_(model.fc6_deconv[0].weight)
    nn.init.constant_(model.fc6_deconv[0].bias, 5.0)
    nn.init.ones_(model.score.weight)
    x = rng.random((1, 3, 70, 45)) + 1.0
    expected = np.zeros((70, 45))
    for i in range(0, 70, 32):
        for j in range(0, 45, 32):
            part = x[0, 0, i : i + 32, j : j + 32]
            row, column = np.unravel_index(part.argmax(), part.shape)
            expected[i + row, j + column] = 5.0
    y = model(tinyfcn.tensor(x)).numpy()[0, 0]
    assert np.array_equal(y, expected)
