"""Every algorithm of convolution against the base backend, and the rule that picks among them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinyfcn.backend.base import Backend, conv_sizes
from tinyfcn.backend.cpu import NumpyBackend, conv
from tinyfcn.backend.cpu.conv import columns, depthwise, products, winograd, winograd_rows
from tinyfcn.backend.cpu.conv.window import Window

CPU, BASE = NumpyBackend(), Backend()
NAMES = [name for name in conv.ALGORITHMS if name != "winograd_rows"]

# How much larger the rounding of an algorithm may be than that of a direct sum: the constants of
# F(4×4, 3×3) reach 5 and 1/24, so that large terms cancel.
ROUNDING = {
    "tiles": 1, "taps": 1, "winograd_rows": 2,
    "winograd2": 3, "winograd4": 40,
}  # fmt: skip


def passes(algorithm, x, weight, bias, gy, window):
    """Output, input gradient and weight gradient."""
    with conv.algorithm.using(algorithm):
        return three_passes(CPU, x, weight, bias, gy, window)


def three_passes(backend, x, weight, bias, gy, window):
    return (
        backend.conv2d(x, weight, bias, *window),
        backend.conv2d_input_grad(gy, weight, None, x.shape[2:], *window),
        backend.conv2d_weight_grad(x, gy, weight.shape[2:], *window),
    )


def arrays(n, c, oc, h, w, k, window, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c, h, w)).astype(dtype)
    kernel = np.broadcast_to(k, 2)  # one number, or height and width
    weight = rng.standard_normal((oc, c // window[3], *kernel)).astype(dtype)
    bias = rng.standard_normal(oc).astype(dtype)
    gy = rng.standard_normal((n, oc, *conv_sizes((h, w), kernel, *window[:3]))).astype(dtype)
    return x, weight, bias, gy


def exact_passes(case, window):
    return three_passes(BASE, *(a.astype("float64") for a in case), window)


def assert_close(algorithm, got, case, window):
    """Within what rounding explains: eps times the root of the number of terms, at the size that
    sums of such terms have where they do not happen to cancel."""
    dtype = case[0].dtype
    squares = exact_passes([a.astype("float64") ** 2 for a in case], window)
    eps = np.finfo(dtype).eps * ROUNDING[algorithm]
    for values, reference, square in zip(got, exact_passes(case, window), squares, strict=True):
        assert values.dtype == dtype
        terms = max(np.prod(a.shape[1:]) for a in squares) if values.size else 1
        bound = 4 * eps * np.sqrt(terms * square.max(initial=0))
        assert np.abs(values - reference).max(initial=0) <= bound


@pytest.fixture(scope="module", autouse=True)
def pieces_on_every_cpu():
    """As with AVX-512, which decides over the speed alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "IN_PLACE", True)
        yield


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", NAMES)
@given(data=st.data())
def test_equal_to_the_base(algorithm, dtype, data):
    draw = data.draw
    fixed = {"winograd2": 3, "winograd4": 3}
    k = fixed.get(algorithm) or draw(st.integers(1, 4))
    strides = st.integers(1, 3 if algorithm in ("tiles", "taps") else 1)
    dilations = st.integers(1, 3)
    stride, dilation = draw(st.tuples(strides, strides)), draw(st.tuples(dilations, dilations))
    p = st.integers(0, 3)
    groups = draw(st.sampled_from([1, 2]))
    window = (stride, draw(st.tuples(p, p)), dilation, groups)
    n, c, oc = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)))
    h, w = draw(st.tuples(st.integers(1, 17), st.integers(1, 17)))
    for size, pad, d in zip((h, w), window[1], dilation, strict=True):
        assume(size + 2 * pad >= d * (k - 1) + 1)
    assert conv.ALGORITHMS[algorithm].applies((k, k), Window(*window[:3]))
    case = arrays(n, c * groups, oc * groups, h, w, k, window, dtype)
    assert_close(algorithm, passes(algorithm, *case, window), case, window)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_rows_equal_the_base(dtype, data):
    """Kernels of any width, strips of a few rows, products in pieces, and what is left of them."""
    draw = data.draw
    kernel = 3, draw(st.integers(1, 5))
    p = st.integers(0, 6)
    window = ((1, 1), draw(st.tuples(p, p)), (1, 1), 1)
    n, c, oc = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)))
    h, w = draw(st.tuples(st.integers(1, 17), st.integers(1, 17)))
    assume(h + 2 * window[1][0] >= 3 and w + 2 * window[1][1] >= kernel[1])
    case = arrays(n, c, oc, h, w, kernel, window, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            winograd_rows, "STRIP_ELEMENTS", draw(st.sampled_from([(1, 256), (1 << 12,) * 2]))
        )
        patch.setattr(products, "SHORTEST", 3)
        patch.setattr(products, "STEP", 3)
        patch.setattr(products, "SMALL", 100)
        assert_close("winograd_rows", passes("winograd_rows", *case, window), case, window)


SHAPES = [
    (1, 3, 8, 70, 3, ((1, 1), (1, 1), (1, 1), 1)),  # many tiles, some with padding
    (5, 4, 6, 9, 3, ((1, 1), (1, 1), (1, 1), 1)),  # several images in a tile
    (2, 16, 24, 40, 3, ((2, 2), (1, 1), (1, 1), 1)),  # phases of a stride
    (1, 16, 24, 40, 3, ((2, 3), (4, 4), (4, 2), 1)),  # stride and dilation
    (1, 64, 96, 7, 7, ((1, 1), (3, 3), (1, 1), 1)),  # few pixels: channels are shared out
    (1, 48, 48, 33, 3, ((1, 1), (1, 1), (1, 1), 48)),  # depthwise
    (1, 48, 48, 33, 3, ((2, 2), (1, 1), (1, 1), 48)),  # the same under a stride
    (2, 64, 96, 21, 3, ((1, 1), (1, 1), (1, 1), 16)),  # merged groups
    (2, 64, 96, 21, 3, ((2, 1), (1, 1), (1, 2), 16)),
    (1, 128, 64, 31, 3, ((1, 1), (1, 1), (1, 1), 2)),  # wide groups
    (2, 20, 70, 33, 1, ((1, 1), (0, 0), (1, 1), 1)),  # 1×1: the image is the matrix
    (1, 100, 100, 37, 3, ((1, 1), (1, 1), (1, 1), 1)),  # Winograd by default
    (2, 97, 100, 23, 3, ((1, 1), (2, 3), (2, 3), 1)),  # the same with a dilation
    (1, 21, 21, 20, 16, ((8, 8), (4, 4), (1, 1), 21)),  # the upsampling of an FCN-8s
]


@pytest.mark.parametrize("algorithm", ["auto", *NAMES])
@pytest.mark.parametrize(("n", "c", "oc", "h", "k", "window"), SHAPES)
def test_the_same_bits_for_any_number_of_threads(monkeypatch, algorithm, n, c, oc, h, k, window):
    monkeypatch.setattr(columns, "TILE_PIXELS", (64, 512))  # several tiles also of a small image
    monkeypatch.setattr(winograd, "GROUP_ELEMENTS", 1 << 13)
    monkeypatch.setattr(winograd, "GROUP_TILES", 64)
    monkeypatch.setattr(winograd, "BLOCK_ELEMENTS", 1 << 11)
    monkeypatch.setattr(winograd_rows, "STRIP_ELEMENTS", (1 << 10, 1 << 13))
    monkeypatch.setattr(depthwise, "BLOCK", 1 << 12)
    case = arrays(n, c, oc, h, h + 1, k, window, "float32")
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "1")
    single = passes(algorithm, *case, window)
    assert_close("winograd4" if algorithm == "winograd4" else "winograd2", single, case, window)
    for count in ("2", "3", "7"):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", count)
        for a, b in zip(single, passes(algorithm, *case, window), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_depthwise_equals_the_base(dtype, data):
    draw = data.draw
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    n, c, (kh, kw), stride = draw(st.tuples(st.integers(0, 2), st.integers(2, 5), pair, pair))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3 if stride[1] == 1 else 1)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    h, w = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    for size, k, p, d in zip((h, w), (kh, kw), padding, dilation, strict=True):
        assume(size + 2 * p >= d * (k - 1) + 1)
    window = (stride, padding, dilation, c)
    assert depthwise.applies((kh, kw), Window(*window[:3]))
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((n, c, h, w)), rng.standard_normal((c, 1, kh, kw))
    bias = rng.standard_normal(c)
    gy = rng.standard_normal((n, c, *conv_sizes((h, w), (kh, kw), *window[:3])))
    case = [a.astype(dtype) for a in (x, weight, bias, gy)]
    assert_close("tiles", passes("auto", *case, window), case, window)


@pytest.mark.parametrize(("channels", "size"), [(64, 46), (192, 24)])  # winograd_rows, winograd2
def test_the_default_is_as_exact_as_a_direct_sum(channels, size):
    """On layers of FCN-8s the errors of the default are at most twice those of tiles."""
    window = ((1, 1), (1, 1), (1, 1), 1)
    case = arrays(1, channels, channels, size, size, 3, window, "float32")
    exact = exact_passes(case, window)

    def errors(algorithm):
        got = passes(algorithm, *case, window)
        return [np.abs(a - b).max() for a, b in zip(got, exact, strict=True)]

    for default, direct, four in zip(
        errors("auto"), errors("tiles"), errors("winograd4"), strict=True
    ):
        assert default <= 2 * direct
        assert four > 2 * direct  # or the test could not tell them apart


def test_the_rule():
    def chosen(kernel, inputs, outputs, size, stride=(1, 1), padding=(1, 1), dilation=(1, 1)):
        window = Window(stride, padding, dilation)
        found = conv.choose((kernel, kernel), inputs, outputs, (1, size, size), window)
        return next(name for name, a in conv.ALGORITHMS.items() if a is found)

    assert chosen(1, 512, 21, 64, padding=(0, 0)) == "tiles"
    assert chosen(1, 4096, 4096, 8, padding=(0, 0)) == "taps"
    assert chosen(1, 512, 21, 64, stride=(2, 2), padding=(0, 0)) == "tiles"
    assert chosen(3, 256, 256, 64) == chosen(3, 256, 256, 20) == "winograd2"
    assert chosen(3, 64, 64, 64) == chosen(3, 64, 64, 20) == "winograd_rows"
    assert chosen(3, 512, 16, 64) == "winograd_rows"  # too few channels on one side
    assert chosen(3, 256, 256, 64, stride=(2, 2)) == "tiles"
    assert chosen(3, 256, 256, 64, dilation=(2, 4)) == "winograd2"
    assert chosen(3, 64, 64, 64, dilation=(2, 2)) == "tiles"
    assert chosen(3, 3, 64, 256) == "winograd_rows"
    assert chosen(3, 512, 512, 8) == chosen(7, 512, 4096, 16) == "taps"
    assert chosen(3, 512, 256, 65, padding=(12, 12), dilation=(12, 12)) == "taps"
    assert chosen(3, 512, 256, 129, padding=(12, 12), dilation=(12, 12)) == "winograd2"
    assert chosen(7, 512, 4096, 100) == "tiles"
    assert chosen(16, 21, 21, 32, stride=(8, 8), padding=(4, 4)) == "tiles"
    with conv.algorithm.using("winograd4"):
        assert chosen(3, 3, 64, 8) == "winograd4"
        assert chosen(7, 512, 4096, 16) == "taps"  # does not apply: the rule decides


def test_an_algorithm_can_be_named(monkeypatch):
    monkeypatch.setenv("TINYFCN_CONV", "tiles")
    assert conv.algorithm() == "tiles"
    with conv.algorithm.using("winograd4"):
        assert conv.algorithm() == "winograd4"
    assert conv.algorithm() == "tiles"
    monkeypatch.setenv("TINYFCN_CONV", "fft")
    with pytest.raises(ValueError, match=r"expected one of auto, tiles.*got 'fft'"):
        conv.algorithm()
    with pytest.raises(ValueError, match="got 'fft'"), conv.algorithm.using("fft"):
        pass
