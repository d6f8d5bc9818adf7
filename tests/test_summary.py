"""What a network is made of, against numbers that are published or counted by hand."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, models, nn, summary
from tinyfcn.nn import count_parameters
from tinyfcn.summary import _tensors

SMALL = {"width": 1 / 16}
# Sides of images that all networks can be called on, if not 64 x 96.
SIDES = {"alexnet": 224, "caffenet": 227, "unet": 188}


def meta(make, **arguments):
    """A network without memory."""
    with backend.using("meta"):
        return make(**arguments)


def convolutions(summed):
    """The layers up to fc7."""
    return [
        layer for layer in summed.layers if layer.kind == "Conv2d" and "score" not in layer.name
    ]


def test_vgg16_as_published():
    vgg = summary(meta(models.vgg16), (3, 224, 224))
    assert vgg.parameters == 138_357_544
    assert vgg.multiply_adds == 15_470_264_320  # 15.47 G
    assert vgg.output_shape == (1, 1000)
    assert (vgg.receptive_field, vgg.stride) == ((212, 212), (32, 32))
    by_name = {layer.name: layer for layer in vgg.layers}
    for pool, field in ((4, 6), (9, 16), (16, 44), (23, 100), (30, 212)):
        assert by_name[f"features.{pool}"].receptive_field == (field, field)
    assert by_name["features.2"].multiply_adds == 224 * 224 * 64 * 64 * 9
    assert by_name["classifier.0"].multiply_adds == 25088 * 4096
    assert by_name["classifier.0"].receptive_field == (math.inf, math.inf)
    assert by_name["flatten"].nbytes == 0


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (models.fcn32s, 134_346_581),
        (models.fcn16s, 134_357_354),
        (models.fcn8s, 134_362_751),
    ],
)
def test_fcns_as_published(make, parameters):
    fcn = summary(meta(make), (3, 500, 500))
    assert fcn.parameters == parameters
    assert (fcn.receptive_field, fcn.stride) == ((404, 404), (32, 32))
    assert fcn.output_shape == (1, 21, 500, 500)


@pytest.mark.parametrize(
    ("make", "classes", "parameters", "field", "stride"),
    [
        (models.segnet_basic, 11, 1_416_587, 106, 16),
        (models.segnet, 11, 29_449_355, 212, 32),
        # VGG16's poolings span 3 pixels here; a mean over 3 and fc6 with dilation 12 follow:
        # 99 at conv4_3, + 16 (pool4) + 96 (conv5) + 16 (pool5) + 16 (mean) + 192 (fc6)
        (models.deeplab_largefov, 21, 20_505_429, 435, 8),
    ],
)
def test_other_networks_as_published(make, classes, parameters, field, stride):
    summed = summary(meta(make, num_classes=classes), (3, 360, 480))
    assert summed.parameters == parameters
    assert (summed.receptive_field, summed.stride) == ((field, field), (stride, stride))


@pytest.mark.parametrize(
    ("geometry", "size", "giga", "mega"),
    [
        ("reference", (375, 500), 146.3, 440),
        ("aligned", (375, 500), 80.8, 209),
        ("reference", (500, 500), 180.9, 536),
        ("reference", (224, 224), 62.7, 195),
        ("aligned", (224, 224), 21.2, 56),
    ],
)
def test_arithmetic_and_activations_of_the_two_geometries(geometry, size, giga, mega):
    layers = convolutions(summary(meta(models.fcn32s, geometry=geometry), (3, *size)))
    assert sum(layer.multiply_adds for layer in layers) / 1e9 == pytest.approx(giga, abs=0.05)
    assert sum(layer.nbytes for layer in layers) / 1e6 == pytest.approx(mega, abs=0.5)


def test_the_skips_of_fcn8s():
    layers = {layer.name: layer for layer in summary(meta(models.fcn8s), (3, 64, 96)).layers}
    for name, field, stride in (
        ("score_pool3", 44, 8),
        ("score_pool4", 100, 16),
        ("score_fr", 404, 32),
        ("upscore2", 404 + 32, 16),  # two stamps overlap in a pixel
        ("upscore_pool4", 404 + 2 * 32, 8),  # two neighbours of those: three scores, at most
    ):
        assert layers[name].receptive_field == (field, field), name
        assert layers[name].stride == (stride, stride), name
    assert layers["upscore8"].shape == (1, 21, 64, 96)


class Small(nn.Module):
    """Everything at once, small enough to count."""

    def __init__(self):
        self.down = nn.Conv2d(3, 4, 3, stride=(2, 1), padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=4, dilation=4, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(8, 2, 4, stride=(2, 1), padding=(1, 1))
        self.up.requires_grad_(False)

    def forward(self, x):
        y = F.relu(self.down(x))
        return {"out": self.up(F.cat([y, self.wide(y)], 1)), "side": y}


def test_a_network_counted_by_hand():
    summed = summary(Small(), (2, 3, 8, 6))
    down, wide, up = summed.layers
    assert [layer.name for layer in summed.layers] == ["down", "wide", "up"]
    assert [layer.shape for layer in summed.layers] == [(2, 4, 4, 6), (2, 4, 4, 6), (2, 2, 8, 7)]
    assert [layer.parameters for layer in summed.layers] == [3 * 4 * 9 + 4, 4 * 2 * 9, 0]
    assert summed.frozen == 8 * 2 * 16 + 2
    assert down.multiply_adds == 2 * (4 * 6) * 4 * 3 * 9
    assert wide.multiply_adds == 2 * (4 * 6) * 4 * 2 * 9
    assert up.multiply_adds == 2 * (4 * 6) * 8 * 2 * 16
    assert summed.multiply_adds == down.multiply_adds + wide.multiply_adds + up.multiply_adds
    assert (down.receptive_field, down.stride) == ((3, 3), (2, 1))
    assert (wide.receptive_field, wide.stride) == ((3 + 8 * 2, 3 + 8), (2, 1))
    assert (up.receptive_field, up.stride) == ((19 + 2, 11 + 3), (1, 1))
    assert summed.output_shape == (2, 2, 8, 7)
    # The image, what ReLU gave, and what was joined of it: the input of a frozen layer is not kept,
    # but saving is decided before that is known.
    image, y = 2 * 3 * 8 * 6 * 4, 2 * 4 * 4 * 6 * 4
    assert summed.kept_bytes == image + y + 2 * y


def brute_force_field(model, size):
    """Inputs, along the rows, that a change of reaches one output pixel, by trying all of them."""
    impulses = np.concatenate([np.zeros((1, size)), np.eye(size)])
    zero, *impulse = model(tinyfcn.tensor(impulses[:, None, :, None])).numpy()[:, 0, :, 0]
    seen = (impulse != zero).T
    return max(int(np.ptp(np.flatnonzero(row))) + 1 for row in seen if row.any())


@given(st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=3), st.booleans())
def test_the_receptive_field_is_what_really_reaches_a_pixel(windows, upsample):
    layers = [
        nn.Conv2d(1, 1, (k, 1), stride=(s, 1), dilation=(d, 1)).double() for k, s, d in windows
    ]
    if upsample:
        layers.append(nn.ConvTranspose2d(1, 1, (4, 1), stride=(2, 1)).double())
    for layer in layers:
        nn.init.ones_(layer.weight)
    model = nn.Sequential(*layers)
    expected = brute_force_field(model, 90)
    assert summary(model, (1, 90, 1)).layers[-1].receptive_field[0] == expected


@pytest.mark.parametrize(
    ("op", "field", "stride"),
    [
        (lambda x: F.max_pool2d(x, 3, 2, 1), 3, 2),
        (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), 3, 2),
        (lambda x: F.avg_pool2d(x, 2), 2, 2),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 2, 0.5),
        (lambda x: F.interpolate(x, scale_factor=4), 1, 0.25),
        (lambda x: F.unpool_nearest(x, 2), 1, 0.5),
        (lambda x: F.pad(x, (1, 2, 3, 4), mode="reflect"), 1, 1),
        (lambda x: F.pad(F.max_pool2d(x, 2), (1, 1, 1, 1)), 2, 2),
        (lambda x: F.adaptive_avg_pool2d(x, 12), 1, 1),
        (lambda x: F.adaptive_avg_pool2d(x, 3), math.inf, 4),
        (lambda x: x + F.interpolate(F.adaptive_avg_pool2d(x, 1), 12), math.inf, 1),
        (lambda x: x * x.mean((2, 3), keepdim=True), math.inf, 1),
        (lambda x: x / (x * x).sum(1, keepdim=True), 1, 1),
        (lambda x: x[:, :, np.array([1, 5]), np.array([2, 0])], math.nan, math.nan),
        (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), 2, 1),
    ],
)
def test_what_other_ops_see(op, field, stride):
    class Op(nn.Module):
        def forward(self, x):
            return op(x)

    (layer,) = summary(Op(), (2, 12, 12)).layers
    np.testing.assert_equal(layer.receptive_field, (field, field))
    np.testing.assert_equal(layer.stride, (stride, stride))


def test_the_model_is_as_before():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[2].eval()
    before, state = model.state_dict(), tinyfcn.random.get_state()
    arrays = [p.data for p in model.parameters()]
    summary(model, (3, 8, 8))
    assert all(p.data is a for p, a in zip(model.parameters(), arrays, strict=True))
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert "forward" not in vars(model[0])
    assert tinyfcn.random.get_state() == state
    with pytest.raises(ValueError, match="4 input channels"):
        summary(nn.Conv2d(4, 4, 3), (3, 8, 8))
    assert backend.active().name == "numpy"


def test_shared_layers_count_once():
    layer = nn.Conv2d(2, 2, 1, bias=False)
    summed = summary(nn.Sequential({"a": layer, "b": nn.Sequential(layer)}), (2, 5, 5))
    assert [row.parameters for row in summed.layers] == [4, 0]
    assert [row.multiply_adds for row in summed.layers] == [100, 100]
    assert summed.parameters == 4


def test_recomputing_keeps_less():
    usual, sparing = (
        summary(models.fcn8s(width=1 / 16, recompute=r), (3, 64, 64)) for r in (False, True)
    )
    assert sparing.kept_bytes < usual.kept_bytes / 2
    assert sparing.multiply_adds == usual.multiply_adds


@pytest.mark.parametrize("size", [(3, 8), (3, 0, 8), (3, 8.5, 8), (1, 1, 3, 8, 8)])
def test_what_is_no_size_is_rejected(size):
    with pytest.raises(ValueError, match="summary: input_size must be"):
        summary(nn.Identity(), size)


@pytest.mark.parametrize(
    ("make", "parameters", "giga"),
    [
        # as torchvision publishes them
        (models.alexnet, 61_100_840, 0.71),
        (models.vgg11, 132_863_336, 7.61),
        (models.vgg19_bn, 143_678_248, 19.63),
        (models.resnet18, 11_689_512, 1.81),
        (models.resnet50, 25_557_032, 4.09),
        (models.resnet101, 44_549_160, 7.80),
    ],
)
def test_classifiers_as_published(make, parameters, giga):
    classifier = summary(meta(make), (3, 224, 224))
    assert classifier.parameters == parameters
    assert classifier.multiply_adds / 1e9 == pytest.approx(giga, abs=0.005)


@pytest.mark.parametrize("name", models.list())
def test_shapes_are_those_of_a_real_run(name):
    """Every model, small: the same shape as on the backend that computes, and all its layers."""
    takes = inspect.signature(getattr(models, name)).parameters
    model = meta(models.create, name=name, num_classes=3, **dict(SMALL if "width" in takes else {}))
    size = (1, 3, SIDES.get(name, 64), SIDES.get(name, 96))
    summed = summary(model, size)
    assert summed.parameters == count_parameters(model)
    assert sum(layer.parameters for layer in summed.layers) <= summed.parameters
    assert sum(layer.multiply_adds for layer in summed.layers) == summed.multiply_adds
    if "width" in takes:
        model = models.create(name, num_classes=3, **SMALL).eval()
        with tinyfcn.no_grad():
            real = model(tinyfcn.tensor(np.zeros(size, np.float32)))
        assert summed.output_shape == next(_tensors(real)).shape
    elif not models.is_classifier(name):
        assert summed.output_shape == (1, 3, *size[2:])


class Twice(nn.Module):
    """Multiplies by two with the ops of this package, or with NumPy."""

    def __init__(self, by_numpy):
        self.by_numpy = by_numpy

    def forward(self, x):
        return tinyfcn.tensor(np.asarray(x.numpy()) * 2) if self.by_numpy else x * 2


def test_a_module_that_multiplies_nothing():
    said = str(summary(Twice(by_numpy=False), (3, 4, 5))).splitlines()
    assert said[-4:-1] == ["0 parameters", "0 multiply-adds", "0 bytes kept for the backward pass"]


def test_a_module_that_leaves_for_numpy_is_named():
    with pytest.raises(TypeError, match="summary: 1 gave an array made by NumPy; only what is"):
        summary(nn.Sequential(nn.Conv2d(3, 2, 1), Twice(by_numpy=True)), (3, 4, 5))
