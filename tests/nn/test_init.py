"""Initial weights: golden bilinear kernels, and the variance that each method promises."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
from tinyfcn import nn
from tinyfcn.nn import init

# Published filters: 1-D taps by kernel size (Shelhamer et al., surgery.py; Caffe filler.hpp).
TAPS = {
    1: [1.0],
    2: [0.5, 0.5],
    3: [0.5, 1.0, 0.5],
    4: [0.25, 0.75, 0.75, 0.25],
    8: [0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125],
    16: [*np.arange(0.0625, 1, 0.125), *np.arange(0.9375, 0, -0.125)],
    32: [*np.arange(0.03125, 1, 0.0625), *np.arange(0.96875, 0, -0.0625)],
    63: [*np.arange(1, 33) / 32, *np.arange(31, 0, -1) / 32],
    64: [*np.arange(0.015625, 1, 0.03125), *np.arange(0.984375, 0, -0.03125)],
}


def empty(*shape, dtype=np.float32):
    return tinyfcn.tensor(np.full(shape, np.nan, dtype))


@pytest.mark.parametrize("size", TAPS)
def test_bilinear_kernels_are_the_published_ones(size):
    assert init.bilinear_kernel(size).tolist() == TAPS[size]


@given(st.integers(1, 40))
def test_taps_that_meet_in_a_pixel_sum_to_one(factor):
    sizes = (2 * factor - 1, 2 * factor)
    for size in sizes:
        kernel = init.bilinear_kernel(size)
        phases = [kernel[i::factor].sum() for i in range(factor)]
        assert np.allclose(phases, 1.0, rtol=0, atol=1e-12)


def test_bilinear_fills_the_diagonal_only():
    weight = init.bilinear_(empty(3, 3, 4, 4)).numpy()
    kernel = np.outer(TAPS[4], TAPS[4])
    assert (kernel.min(), kernel.max()) == (0.0625, 0.5625)
    for o in range(3):
        for c in range(3):
            assert np.array_equal(weight[o, c], kernel if o == c else np.zeros((4, 4)))


def test_bilinear_fills_every_group():
    weight = init.bilinear_(empty(3, 1, 3, 3)).numpy()
    assert all(np.array_equal(w, np.outer(TAPS[3], TAPS[3])) for w in weight[:, 0])


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (3, 3, 4, 2), (3, 3)])
def test_bilinear_rejects_what_cannot_interpolate(shape):
    with pytest.raises(ValueError, match="bilinear_: .*got " + re.escape(str(shape))):
        init.bilinear_(empty(*shape))


@pytest.mark.parametrize("groups", [1, 3])
def test_deconvolution_of_a_row_interpolates_as_published(groups):
    layer = nn.ConvTranspose2d(3, 3, 4, 2, 1, groups=groups, bias=False)
    init.bilinear_(layer.weight)
    a, b, c = 1.0, -2.0, 5.0
    x = np.zeros((1, 3, 4, 3), np.float32)
    x[:, 1] = a, b, c
    y = layer(tinyfcn.tensor(x)).numpy()
    row = [
        0.75 * a, 0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b,
        0.75 * b + 0.25 * c, 0.25 * b + 0.75 * c, 0.75 * c,
    ]  # fmt: skip
    assert np.allclose(y[0, 1, 2:6], row, rtol=0, atol=1e-6)  # rows away from the zero border
    assert not y[0, [0, 2]].any()


FAN_IN, FAN_OUT = 50 * 9, 80 * 9  # of a weight (80, 50, 3, 3)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("kaiming", {}, np.sqrt(2 / FAN_IN)),
        ("kaiming", {"mode": "fan_out"}, np.sqrt(2 / FAN_OUT)),
        ("kaiming", {"nonlinearity": "tanh"}, 5 / 3 / np.sqrt(FAN_IN)),
        ("kaiming", {"a": 1.0}, np.sqrt(1 / FAN_IN)),
        ("xavier", {}, np.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("xavier", {"gain": 3.0}, 3 * np.sqrt(2 / (FAN_IN + FAN_OUT))),
    ],
)
def test_random_weights_have_the_promised_deviation(name, options, expected, distribution):
    fill = getattr(init, f"{name}_{distribution}_")
    for dtype in (np.float32, np.float64):
        t = empty(80, 50, 3, 3, dtype=dtype)
        assert fill(t, **options) is t
        values = t.numpy()
        assert values.dtype == dtype
        # 36,000 draws: the relative error of a deviation is about 1 / √(2 · 36,000) = 0.4 %.
        assert values.std() == pytest.approx(expected, rel=0.02)
        assert abs(values.mean()) < 5 * expected / np.sqrt(values.size)
        if distribution == "uniform":
            assert np.abs(values).max() <= expected * np.sqrt(3) * (1 + 1e-6)
        else:
            assert np.abs(values).max() > expected * np.sqrt(3)


def test_the_seed_decides_and_the_layout_does_not():
    tinyfcn.manual_seed(3)
    one = nn.Conv2d(5, 7, 3).weight
    tinyfcn.manual_seed(3)
    other = init.kaiming_normal_(empty(7, 5, 3, 3))
    assert one.data.strides != other.data.strides
    assert np.array_equal(one.numpy(), other.numpy())
    drawn = np.random.Generator(np.random.PCG64(3)).standard_normal((7, 3, 3, 5), np.float32)
    drawn *= np.float32(np.sqrt(2 / 45))
    assert np.allclose(one.numpy(), drawn.transpose(0, 3, 1, 2), rtol=1e-6)
    tinyfcn.manual_seed(4)
    assert not np.array_equal(one.numpy(), nn.Conv2d(5, 7, 3).weight.numpy())


def test_constants_and_errors():
    assert init.zeros_(empty(2)).numpy().tolist() == [0, 0]
    assert init.ones_(empty(2)).numpy().tolist() == [1, 1]
    assert init.constant_(empty(2), 2.5).numpy().tolist() == [2.5, 2.5]
    with pytest.raises(ValueError, match=r"shape \(3,\) has no fan_in"):
        init.kaiming_normal_(empty(3))
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'in'"):
        init.kaiming_normal_(empty(3, 3), mode="in")
    with pytest.raises(ValueError, match=r"expected one of linear, .*, got 'gelu'"):
        init.calculate_gain("gelu")


def test_a_signal_keeps_its_size_through_many_layers(rng):
    """The point of He's method: 16 layers of convolution and ReLU neither fade nor explode."""
    layers = [nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()) for _ in range(16)]
    x = tinyfcn.tensor(rng.standard_normal((2, 32, 24, 24)).astype(np.float32))
    y = nn.Sequential(*layers)(x).numpy()[:, :, 8:-8, 8:-8]
    assert 0.1 < np.sqrt((y**2).mean()) < 10
