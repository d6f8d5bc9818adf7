"""AlexNet and CaffeNet: the published keys, shapes, counts, sizes; what CaffeNet computes."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn
from tinyfcn.models.backbones.alexnet import AlexNetBackbone, CaffeNetBackbone
from tinyfcn.models.geometry import output_size

ALEXNET = {
    "features.0": (64, 3, 11, 11), "features.3": (192, 64, 5, 5), "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3), "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, 9216), "classifier.4": (4096, 4096), "classifier.6": (1000, 4096),
}  # fmt: skip
CAFFENET = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3), "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096),
}  # fmt: skip
CAFFENET_PARAMETERS = {
    "conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624,
    "fc6": 37_752_832, "fc7": 16_781_312, "fc8": 4_097_000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "layers", "count"),
    [(models.alexnet, ALEXNET, 61_100_840), (models.caffenet, CAFFENET, 60_965_224)],
)
def test_keys_shapes_and_counts_are_the_published_ones(without_values, make, layers, count):
    model = make()
    expected = {}
    for name, shape in layers.items():
        expected.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})
    assert {name: tensor.shape for name, tensor in model.state_tensors().items()} == expected
    assert list(model.state_tensors()) == list(expected)
    assert nn.count_parameters(model) == count
    if make is models.caffenet:
        parts = {name: nn.count_parameters(getattr(model, name)) for name in layers}
        assert parts == CAFFENET_PARAMETERS


@pytest.mark.parametrize(
    ("backbone", "sizes"),
    [
        (AlexNetBackbone, {224: [55, 27, 13, 6]}),
        (CaffeNetBackbone, {227: [55, 27, 13, 6], 384: [94, 47, 23, 11], 500: [123, 61, 30, 15]}),
    ],
)
def test_sizes_are_the_published_ones(backbone, sizes):
    layers = backbone(width=1 / 64)
    for n, expected in sizes.items():
        assert [output_size(layers.stages()[:stage], n) for stage in (1, 2, 3, 4)] == expected


@pytest.mark.parametrize("backbone", [AlexNetBackbone, CaffeNetBackbone])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_stages_are_where_the_backbone_says(rng, backbone, batch_norm):
    layers = backbone(width=1 / 16, batch_norm=batch_norm).eval()
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 99, 131)).astype(np.float32))
    maps = layers.features(x)
    for stage, (y, channels) in enumerate(zip(maps, layers.channels, strict=True), start=1):
        size = [output_size(layers.stages()[:stage], n) for n in (99, 131)]
        assert y.shape == (2, channels, *size)
    assert np.array_equal(maps[-1].numpy(), layers(x).numpy())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in layers) == (5 if batch_norm else 0)


def test_caffenet_is_what_its_description_says(rng):
    """Written out: convolutions in two groups, pooling first and then normalization, ceil mode."""
    model = models.caffenet(num_classes=5, width=1 / 16).double().eval()
    for p in model.parameters():
        if p.ndim == 1:  # weights of one sign would leave ReLU nothing to do
            p.data += 0.05
    state = {name: tinyfcn.tensor(value) for name, value in model.state_dict().items()}

    def convolution(x, i, groups, **window):
        half, inside = state[f"conv{i}.weight"].shape[0] // groups, x.shape[1] // groups
        parts = [
            F.conv2d(
                x[:, g * inside : (g + 1) * inside],
                state[f"conv{i}.weight"][g * half : (g + 1) * half],
                state[f"conv{i}.bias"][g * half : (g + 1) * half],
                **window,
            )
            for g in range(groups)
        ]
        return F.relu(F.cat(parts, 1))

    def normalize(x):
        square = np.pad(x.numpy() ** 2, ((0, 0), (2, 2), (0, 0), (0, 0)))
        energy = sum(square[:, i : i + x.shape[1]] for i in range(5))
        return x / tinyfcn.tensor((1 + 1e-4 / 5 * energy) ** 0.75)

    x = 40 * rng.standard_normal((2, 3, 227, 227))  # the normalization has to matter
    y = convolution(tinyfcn.tensor(x), 1, 1, stride=4)
    y = normalize(F.max_pool2d(y, 3, 2, ceil_mode=True))
    y = normalize(F.max_pool2d(convolution(y, 2, 2, padding=2), 3, 2, ceil_mode=True))
    for i, groups in ((3, 1), (4, 2), (5, 2)):
        y = convolution(y, i, groups, padding=1)
    y = F.max_pool2d(y, 3, 2, ceil_mode=True).reshape(2, -1)
    for i in (6, 7):
        y = F.relu(y @ state[f"fc{i}.weight"].transpose(0, 1) + state[f"fc{i}.bias"])
    y = (y @ state["fc8.weight"].transpose(0, 1) + state["fc8.bias"]).numpy()
    assert np.allclose(model(tinyfcn.tensor(x)).numpy(), y, rtol=1e-9, atol=1e-9)


def test_alexnet_takes_other_sizes(rng):
    model = models.alexnet(num_classes=5, width=1 / 32).eval()
    for size in ((63, 90), (224, 224), (256, 100)):
        x = tinyfcn.tensor(rng.standard_normal((2, 3, *size)).astype(np.float32))
        assert model(x).shape == (2, 5)


def test_errors():
    with pytest.raises(ValueError, match="alexnet: num_classes must be at least 1, got 0"):
        models.alexnet(num_classes=0)
    with pytest.raises(ValueError, match="caffenet: num_classes must be at least 1, got 0"):
        models.caffenet(num_classes=0)
    with pytest.raises(ValueError, match=r"width 0.001 leaves 0 of 64 channels"):
        models.alexnet(width=0.001)
