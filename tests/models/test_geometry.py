"""Coordinate maps against impulses that are sent through real layers, and the published figures."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.geometry import (
    IMAGE,
    CoordinateMap,
    coordinate_map,
    crop_offset,
    output_size,
    receptive_field,
)


def averaging(layer):
    """The layer with all weights equal, so that it moves a ramp but does not bend it."""
    layer.double().weight.data[...] = 1.0 / (layer.kernel_size[0] * layer.kernel_size[1])
    return layer


conv_layers = st.builds(
    lambda k, s, p, d: averaging(nn.Conv2d(1, 1, k, s, p, d, bias=False)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
pool_layers = st.builds(
    lambda k, s, ceil: nn.AvgPool2d(k, s, ceil_mode=ceil),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
)
chains = st.lists(conv_layers | pool_layers, min_size=1, max_size=3)


@given(chains, st.integers(0, 1))
def test_a_ramp_shows_where_every_pixel_looks(layers, axis):
    """Averaging layers turn the ramp x ↦ x into the coordinate that each output pixel is centred
    on; the coordinate map, applied to it, must give back the number of the pixel."""
    n = 40
    ramp = np.broadcast_to(np.arange(n, dtype=np.float64), (n, n))
    x = ramp.T if axis == 0 else ramp
    y = nn.Sequential(*layers)(tinyfcn.tensor(x[None, None])).numpy()[0, 0]
    size, _ = receptive_field(layers, axis)
    moved = coordinate_map(layers, axis)
    assert y.shape == (output_size(layers, n, 0), output_size(layers, n, 1))
    middle = y[:, y.shape[1] // 2] if axis == 0 else y[y.shape[0] // 2]
    scale, shift = float(moved.scale), float(moved.shift)
    # Windows that reach over the border see zeros and are left out; so are chains too wide to
    # leave any window inside.
    other = receptive_field(layers, 1 - axis)[0]
    assume(size < n // 2 and other < n // 3)
    inside = [
        (i, centre) for i, centre in enumerate(middle)
        if (i - shift) / scale > size / 2 and (i - shift) / scale < n - 1 - size / 2
    ]  # fmt: skip
    assert inside
    for i, centre in inside:
        assert scale * centre + shift == pytest.approx(i, abs=1e-9)


@given(chains, st.integers(0, 1))
def test_the_receptive_field_is_what_changes_the_output(layers, axis):
    """Change one input line at a time: so many change the output pixel in the middle."""
    size, stride = receptive_field(layers, axis)
    n = 60
    assume(size < n // 3 and receptive_field(layers, 1 - axis)[0] < n // 3)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assume(layer.dilation == (1, 1))  # its gaps would count as not reached
            assume(layer.kernel_size[axis] >= layer.stride[axis])
        else:
            assume(layer.kernel_size[axis] >= layer.stride[axis])
    x = tinyfcn.tensor(np.ones((1, 1, n, n)), requires_grad=True)
    y = nn.Sequential(*layers)(x)
    rows, columns = y.shape[2] // 2, y.shape[3] // 2

    def seen(r, c):
        (gradient,) = tinyfcn.grad(y[0, 0, r, c], x, retain_graph=True)
        return np.flatnonzero(gradient.numpy()[0, 0].any(1 - axis))

    here = seen(rows, columns)
    after = seen(rows - (axis == 0), columns - (axis == 1))
    assert len(here) == size
    assert here[0] - after[0] == stride


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.integers(1, 5))
def test_a_transposed_convolution_goes_back_where_its_convolution_came_from(k, s, p, n):
    assume((n - 1) * s - 2 * p + k >= 1)
    there = coordinate_map([nn.Conv2d(1, 1, k, s, p)])
    back = coordinate_map([nn.ConvTranspose2d(1, 1, k, s, p)], start=there)
    assert back == IMAGE
    deconv = nn.ConvTranspose2d(1, 1, k, s, p)
    y = deconv(tinyfcn.tensor(np.zeros((1, 1, n, n), np.float32)))
    assert y.shape[2] == output_size([deconv], n)


@pytest.mark.parametrize(("pool", "size", "stride"), [(3, 44, 8), (4, 100, 16), (5, 212, 32)])
def test_receptive_fields_of_vgg16_are_the_published_ones(pool, size, stride):
    backbone = VGGBackbone(width=1 / 64)
    assert receptive_field(backbone.stages()[:pool]) == (size, stride)
    assert receptive_field(backbone.stages()[:pool], axis=1) == (size, stride)
    if pool == 5:
        assert receptive_field([backbone, nn.Conv2d(8, 1, 7)]) == (404, 32)


def test_the_published_shifts_and_offsets_follow_from_the_layers():
    """The golden table of the reference geometry: scales, shifts and offsets as exact fractions."""
    backbone = VGGBackbone(width=1 / 64, ceil_mode=True, first_padding=100)
    fc6 = nn.Conv2d(8, 1, 7)

    def deconv(f):
        return nn.ConvTranspose2d(1, 1, 2 * f, f)

    scores = coordinate_map([backbone, fc6])
    assert crop_offset(coordinate_map([deconv(32)], start=scores), IMAGE) == 19

    up2 = coordinate_map([deconv(2)], start=scores)
    pool4 = coordinate_map(backbone.stages()[:4])
    assert up2 == CoordinateMap(Fraction(1, 16), Fraction(23, 32))
    assert pool4 == CoordinateMap(Fraction(1, 16), Fraction(183, 32))
    assert crop_offset(pool4, up2) == 5
    assert crop_offset(coordinate_map([deconv(16)], start=up2), IMAGE) == 27

    up4 = coordinate_map([deconv(2)], start=up2)
    pool3 = coordinate_map(backbone.stages()[:3])
    assert up4 == CoordinateMap(Fraction(1, 8), Fraction(47, 16))
    assert pool3 == CoordinateMap(Fraction(1, 8), Fraction(191, 16))
    assert crop_offset(pool3, up4) == 9
    assert crop_offset(coordinate_map([deconv(8)], start=up4), IMAGE) == 31


def test_alexnet_needs_an_odd_kernel_for_a_whole_offset():
    """The published FCN-AlexNet: kernel 63 gives 18, kernel 64 would give half a pixel."""
    backbone = [
        nn.Conv2d(3, 1, 11, 4, 100), nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 5, padding=2),
        nn.MaxPool2d(3, 2), *(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)),
        nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 6),
    ]  # fmt: skip
    assert receptive_field(backbone) == (355, 32)
    scores = coordinate_map(backbone)
    odd = coordinate_map([nn.ConvTranspose2d(1, 1, 63, 32)], start=scores)
    even = coordinate_map([nn.ConvTranspose2d(1, 1, 64, 32)], start=scores)
    assert crop_offset(odd, IMAGE) == 18
    with pytest.raises(ValueError, match="whole pixel of at least 0, but the maps are 37/2 apart"):
        crop_offset(even, IMAGE)


def test_errors():
    half = CoordinateMap(Fraction(1, 2))
    with pytest.raises(ValueError, match="different scales, 1/2 and 1"):
        crop_offset(half, IMAGE)
    with pytest.raises(ValueError, match="at least 0, but the maps are -3 apart"):
        crop_offset(IMAGE, CoordinateMap(shift=Fraction(3)))
    with pytest.raises(TypeError, match="no map of a part of the image each"):
        coordinate_map([nn.AdaptiveAvgPool2d(1)])
    with pytest.raises(TypeError, match="no map of a part of the image each"):
        receptive_field([nn.Flatten()])
    with pytest.raises(TypeError, match="meet here are centred on different places"):
        coordinate_map([Neighbours()])


class Neighbours(nn.Module):
    """Each row plus the next."""

    def forward(self, x):
        return x[:, :, 1:] + x[:, :, :-1]


def test_upsampling_has_a_receptive_field_too():
    assert receptive_field([nn.ConvTranspose2d(1, 1, 4, 2)]) == (2, Fraction(1, 2))
    assert receptive_field([Neighbours()]) == (2, 1)
    assert receptive_field([Neighbours()], axis=1) == (1, 1)


def test_branches_of_any_kind_are_followed():
    """A block that nobody declared, with an average whose windows are even beside the identity."""
    block = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), Neighbours())
    assert receptive_field([block, nn.MaxPool2d(2)]) == (3 + 2 + 2, 4)
    assert coordinate_map([block], axis=1) == CoordinateMap(Fraction(1, 2))


class Resized(nn.Module):
    """A map upsampled or downsampled along its rows."""

    def __init__(self, scale, mode):
        self.scale, self.mode = scale, mode

    def forward(self, x):
        return F.interpolate(x, scale_factor=(self.scale, 1), mode=self.mode)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("scale", [3, 2, 1.5, 0.5, 0.25])
def test_resizing_is_centred_on_what_it_looks_at(scale, mode):
    """On average, where several places repeat a pixel, as the ramp shows."""
    layer, n = Resized(scale, mode), 96
    y = layer(tinyfcn.tensor(np.arange(n, dtype=np.float64).reshape(1, 1, n, 1))).numpy().ravel()
    moved = coordinate_map([layer])
    off = float(moved.scale) * y + float(moved.shift) - np.arange(len(y))
    assert off[6:-6].mean() == pytest.approx(0)
