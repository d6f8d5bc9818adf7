"""Depthwise convolution by one kernel u vᵀ: the numbers of the plain one, by rows and columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn.backend import cpu
from tinyfcn.backend.base import Backend, conv_sizes
from tinyfcn.backend.cpu.conv import depthwise, separable

PAIRS = st.tuples(st.integers(2, 4), st.integers(2, 4))


def kernels(rng, c, size, dtype="float64"):
    """Numbers whose products are exact."""
    u, v = (rng.integers(1, 64, k) / 32 for k in size)
    u[0], v[0] = 2, 2  # the largest: its root is exact, too
    return np.broadcast_to(np.outer(u, v), (c, 1, *size)).astype(dtype)


@given(
    seed=st.integers(0, 999), n=st.integers(0, 2), c=st.integers(2, 5), size=PAIRS, stride=PAIRS,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), dilated=st.booleans(),
    image=st.tuples(st.integers(4, 40), st.integers(4, 40)), relu=st.booleans(),
)  # fmt: skip
def test_it_equals_the_base(seed, n, c, size, stride, padding, dilated, image, relu):
    rng = np.random.default_rng(seed)
    weight, bias = kernels(rng, c, size), rng.standard_normal(c)
    if separable.factors(weight.transpose(0, 2, 3, 1)) is None:
        pytest.fail("its kernels are u vᵀ")
    window = stride, padding, (1, 1 + dilated), c
    oh, ow = conv_sizes(image, size, *window[:3])
    if min(oh, ow) < 1:
        return
    x, gy = rng.standard_normal((n, c, *image)), rng.standard_normal((n, c, oh, ow))
    numpy, base = cpu.NumpyBackend(), Backend()
    for name, arguments in (
        ("conv2d", (x, weight, bias, *window, relu)),
        ("conv2d_input_grad", (gy, weight, bias, image, *window)),
    ):
        found, expected = (getattr(b, name)(*arguments) for b in (numpy, base))
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8, 16, 32])
def test_bilinear_upsampling_is_found(factor):
    """Of fillers with factors whose weights are exact in binary; the others lie beside u vᵀ."""
    across = 1 - abs(np.arange(2 * factor) - (2 * factor - 1) / 2) / factor
    weight = np.broadcast_to(np.outer(across, across), (3, 2 * factor, 2 * factor))[..., None]
    exact = factor & (factor - 1) == 0
    assert (separable.factors(weight.astype("float32")) is not None) or not exact


@pytest.mark.parametrize("spoil", ["last bit", "one channel", "zero", "infinite", "negative"])
def test_other_kernels_stay_as_they_are(rng, spoil):
    weight = kernels(rng, 3, (4, 4), "float32").transpose(0, 2, 3, 1).copy()
    if spoil == "last bit":
        weight[:, 1, 1] = np.nextafter(weight[:, 1, 1], 9)
    elif spoil == "one channel":
        weight[1] *= 2
    else:
        weight *= {"zero": 0, "infinite": np.inf, "negative": -1}[spoil]
    assert separable.factors(weight) is None


def test_a_learned_kernel_is_read_anew(rng):
    """The choice looks at the weights of each call."""
    weight, x = kernels(rng, 3, (4, 4)).copy(), rng.standard_normal((1, 3, 9, 9))
    arguments = (2, 2), (1, 1), (1, 1), 3
    backend = cpu.NumpyBackend()
    backend.conv2d(x, weight, None, *arguments)
    weight[1] += rng.standard_normal((1, 4, 4))
    found = backend.conv2d(x, weight, None, *arguments)
    np.testing.assert_allclose(found, Backend().conv2d(x, weight, None, *arguments), atol=1e-12)
    assert depthwise.factors is separable.factors
