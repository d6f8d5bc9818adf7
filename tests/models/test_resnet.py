"""ResNet: torchvision's keys, shapes and numbers of parameters; what a block computes; geometry."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn
from tinyfcn.models.backbones.resnet import ResNetBackbone
from tinyfcn.models.geometry import CoordinateMap, coordinate_map, output_size, receptive_field

# depth: blocks of the four stages, convolutions of a block as (kernel, output channels / width).
TABLE = {
    18: ((2, 2, 2, 2), ((3, 1), (3, 1))),
    34: ((3, 4, 6, 3), ((3, 1), (3, 1))),
    50: ((3, 4, 6, 3), ((1, 1), (3, 1), (1, 4))),
    101: ((3, 4, 23, 3), ((1, 1), (3, 1), (1, 4))),
}
PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}
WITHOUT_FC = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032, 101: 42_500_160}
MAKERS = {18: models.resnet18, 34: models.resnet34, 50: models.resnet50, 101: models.resnet101}


def batch_norm(name, channels):
    names = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{n}": (channels,) for n in names}, f"{name}.num_batches_tracked": ()}


def backbone_shapes(depth, prefix=""):
    """Names and shapes of torchvision's, in its order."""
    counts, convolutions = TABLE[depth]
    shapes = {"conv1.weight": (64, 3, 7, 7), **batch_norm("bn1", 64)}
    before = 64
    for stage, count in enumerate(counts, start=1):
        wide = 64 * 2 ** (stage - 1)
        for block in range(count):
            name, inside = f"layer{stage}.{block}", before
            for i, (kernel, times) in enumerate(convolutions, start=1):
                shapes[f"{name}.conv{i}.weight"] = (wide * times, inside, kernel, kernel)
                shapes.update(batch_norm(f"{name}.bn{i}", wide * times))
                inside = wide * times
            if block == 0 and (stage > 1 or depth >= 50):
                shapes[f"{name}.downsample.0.weight"] = (inside, before, 1, 1)
                shapes.update(batch_norm(f"{name}.downsample.1", inside))
            before = inside
    return {prefix + name: shape for name, shape in shapes.items()}


def shapes_of(model):
    return {name: tensor.shape for name, tensor in model.state_tensors().items()}


@pytest.mark.parametrize("depth", TABLE)
def test_keys_shapes_and_counts_are_torchvisions(without_values, depth):
    model = MAKERS[depth]()
    expected = backbone_shapes(depth)
    features = 512 if depth < 50 else 2048
    expected.update({"fc.weight": (1000, features), "fc.bias": (1000,)})
    assert shapes_of(model) == expected
    assert list(model.state_dict()) == list(expected)
    assert nn.count_parameters(model) == PARAMETERS[depth]
    assert nn.count_parameters(ResNetBackbone(depth)) == WITHOUT_FC[depth]


def norm(x, state, name):
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


@pytest.mark.parametrize("depth", [18, 50])
def test_the_answer_is_that_of_the_equations(rng, depth):
    """The network written out as arithmetic over its state, strides and paddings by name."""
    model = MAKERS[depth](num_classes=5, width=1 / 16).double().eval()
    for name, tensor in model.state_tensors().items():  # so that batch norm does something
        if name.endswith(("bias", "running_mean")):
            tensor.data[...] = rng.standard_normal(tensor.shape) / 4
        if name.endswith("running_var"):
            tensor.data[...] = rng.uniform(0.5, 2, tensor.shape)
    state = model.state_dict()
    x = rng.standard_normal((2, 3, 75, 64))
    y = F.conv2d(tinyfcn.tensor(x), tinyfcn.tensor(state["conv1.weight"]), None, 2, 3)
    y = F.max_pool2d(F.relu(norm(y, state, "bn1")), 3, 2, 1)
    counts, convolutions = TABLE[depth]
    strided = 1 if depth < 50 else 2  # which convolution of a block has the stride
    for stage, count in enumerate(counts, start=1):
        for block in range(count):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            z = y
            for i, (kernel, _) in enumerate(convolutions, start=1):
                weight = tinyfcn.tensor(state[f"{name}.conv{i}.weight"])
                z = F.conv2d(z, weight, None, stride if i == strided else 1, kernel // 2)
                z = norm(z, state, f"{name}.bn{i}")
                z = F.relu(z) if i < len(convolutions) else z
            if f"{name}.downsample.0.weight" in state:
                weight = tinyfcn.tensor(state[f"{name}.downsample.0.weight"])
                y = norm(F.conv2d(y, weight, None, stride), state, f"{name}.downsample.1")
            y = F.relu(y + z)
    expected = y.numpy().mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    assert np.allclose(model(tinyfcn.tensor(x)).numpy(), expected, rtol=0, atol=1e-10)


def test_stages_have_the_strides_and_channels_they_say(rng):
    backbone = ResNetBackbone(50, width=1 / 32).eval()
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 70, 97)).astype(np.float32))
    maps = backbone.features(x)
    assert backbone.channels == (2, 8, 16, 32, 64)
    for stage, (y, channels) in enumerate(zip(maps, backbone.channels, strict=True), start=1):
        stride = 2**stage
        assert y.shape == (1, channels, -(-70 // stride), -(-97 // stride))
        assert output_size(backbone.stages()[:stage], 70) == y.shape[2]
        assert receptive_field(backbone.stages()[:stage])[1] == stride
    assert np.array_equal(maps[-1].numpy(), backbone(x).numpy())


# Source of 483 and 1027: Araujo, Norris, Sim, Computing receptive fields (2019), whose
# bottlenecks have the stride in their first convolution. In the 3 × 3 one the windows of three
# stages step less far: by 2 · (4 + 8 + 16) pixels in all.
@pytest.mark.parametrize(
    ("depth", "size"), [(18, 435), (34, 899), (50, 483 - 56), (101, 1027 - 56)]
)
def test_receptive_fields(depth, size):
    backbone = ResNetBackbone(depth, width=1 / 64)
    assert receptive_field([backbone]) == (size, 32)
    # Pixel i of the last map is centred on pixel 32 i of the image.
    assert coordinate_map([backbone]) == CoordinateMap(scale=coordinate_map([backbone]).scale)


@pytest.mark.parametrize(("stride", "rates"), [(16, (1, 1, 2)), (8, (1, 2, 4))])
def test_dilation_instead_of_stride(rng, stride, rates):
    """The weights stay the same, the map gets larger, and contains that of the one with strides:
    all that dilation adds is in between."""
    backbone = ResNetBackbone(50, width=1 / 32, output_stride=stride).double().eval()
    plain = ResNetBackbone(50, width=1 / 32).double().eval()
    plain.load_state_dict(backbone.state_dict())
    for stage, rate, before in zip((2, 3, 4), rates, (1, *rates), strict=False):
        blocks = list(getattr(backbone, f"layer{stage}"))
        assert [b.conv2.dilation[0] for b in blocks] == [before] + [rate] * (len(blocks) - 1)
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 64, 96)))
    y = backbone(x)
    assert y.shape == (1, 64, 64 // stride, 96 // stride)
    step = 32 // stride
    assert np.allclose(y.numpy()[:, :, ::step, ::step], plain(x).numpy(), rtol=0, atol=1e-10)


def test_it_learns(rng):
    """A few steps of plain descent on four images bring the loss down."""
    model = models.resnet18(num_classes=4, width=1 / 16)
    x = tinyfcn.tensor(rng.standard_normal((4, 3, 40, 40)).astype(np.float32))
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(model(x), np.arange(4))
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.02 * p.grad.data
    assert losses[-1] < 0.5 * losses[0]


def test_errors():
    with pytest.raises(ValueError, match="resnet34: num_classes must be at least 1, got 0"):
        models.resnet34(num_classes=0)
    with pytest.raises(ValueError, match="depth must be 18, 34, 50 or 101, got 51"):
        ResNetBackbone(51)
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32, got 4"):
        ResNetBackbone(50, output_stride=4)
    with pytest.raises(ValueError, match="output_stride 8 needs depth 50 or 101, got 18"):
        ResNetBackbone(18, output_stride=8)
