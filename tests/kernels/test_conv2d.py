"""Every algorithm of convolution against the base backend in float64."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cuda import convolution
from tinyfcn.backend.cuda.convolution import algorithm, checked_sizes
from tinyfcn.backend.cuda.gemm import products
from tinyfcn.backend.half import narrow

ALGORITHMS = ["auto", "direct", "implicit", "im2col", "tensor"]
TWIN = Backend()


class Case:
    """A convolution with its arrays, and the exact results of its three primitives.

    Arrays of float32 have the digits of TF32, so that tensor cores round nothing.
    """

    def __init__(self, x, weight, stride=1, padding=0, dilation=1, groups=1, dtype=np.float32):
        rng = np.random.default_rng(0)

        def drawn(*shape):
            array = rng.standard_normal(shape).astype(dtype)
            if dtype == np.float32:
                array.view(np.uint32)[...] &= 0xFFFFE000
            return array

        pairs = ((v, v) if isinstance(v, int) else v for v in (stride, padding, dilation))
        self.window = (*pairs, groups)
        self.size, self.kernel = x[2:], weight[2:]
        self.x, self.weight = drawn(*x), drawn(*weight)
        self.bias, self.input_bias = drawn(weight[0]), drawn(x[1])
        y = TWIN.conv2d(self.x, self.weight, None, *self.window)
        self.gy = drawn(*y.shape)

    def run(self, backend, change=lambda a: a):
        """Output, input gradient and weight gradient by ``backend``, of changed arrays."""
        x, weight, bias, input_bias, gy = (
            change(a) for a in (self.x, self.weight, self.bias, self.input_bias, self.gy)
        )
        return (
            backend.conv2d(x, weight, bias, *self.window),
            backend.conv2d_input_grad(gy, weight, input_bias, self.size, *self.window),
            backend.conv2d_weight_grad(x, gy, self.kernel, *self.window),
        )

    def check_together(self, backend, within_rounding, change=lambda a: a, wanted=(True,) * 3):
        """All gradients at once have the bits of one after the other, with and without a ReLU."""
        x, weight, gy = (change(a) for a in (self.x, self.weight, self.gy))
        y = change(np.maximum(self.gy[::-1, ::-1], 0))  # half of it is 0
        for output, passed in ((None, self.gy), (y, TWIN.relu_grad(self.gy, y))):
            gx, gw, gbias = backend.conv2d_grads(gy, output, x, weight, wanted, *self.window)
            assert wanted == tuple(g is not None for g in (gx, gw, gbias))
            if wanted[0]:
                alone = backend.conv2d_input_grad(passed, weight, None, self.size, *self.window)
                np.testing.assert_array_equal(gx, alone)
            if wanted[1]:
                alone = backend.conv2d_weight_grad(x, passed, self.kernel, *self.window)
                np.testing.assert_array_equal(gw, alone)
            if wanted[2]:
                exact, axes = passed.astype(np.float64), (0, 2, 3)
                # one rounding of each share, and of 16 terms of a thread
                within_rounding(gbias, exact.sum(axes), np.abs(exact).sum(axes), 16)

    def check(self, backend, within_rounding, change=lambda a: a):
        got = self.run(backend, change)
        exact = self.run(TWIN, lambda a: a.astype(np.float64))
        absolute = self.run(TWIN, lambda a: np.abs(a.astype(np.float64)))
        groups, area = self.window[-1], self.kernel[0] * self.kernel[1]
        terms = (
            self.x.shape[1] // groups * area,
            self.gy.shape[1] // groups * area,
            self.gy.size // max(self.gy.shape[1], 1),
        )
        for result, *expected in zip(got, exact, absolute, terms, strict=True):
            assert result.dtype == self.x.dtype
            assert result.flags.c_contiguous
            within_rounding(result, *expected)


@pytest.mark.parametrize("name", ALGORITHMS)
@given(data=st.data())
def test_any_window(cuda, name, within_rounding, data):
    draw = data.draw
    pair = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * 2))  # noqa: E731
    stride, padding, dilation, kernel = pair(1, 4), pair(0, 3), pair(1, 3), pair(1, 4)
    h, w = pair(1, 12)
    for size, p, d, k in zip((h, w), padding, dilation, kernel, strict=True):
        assume(size + 2 * p > d * (k - 1))
    n, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3]))
    c, oc = pair(1, 9)
    case = Case(
        (n, groups * c, h, w), (groups * oc, c, *kernel), stride, padding, dilation, groups,
        draw(st.sampled_from([np.float32, np.float64])),
    )  # fmt: skip
    with algorithm.using(name):
        case.check(cuda, within_rounding)


TOGETHER = [
    ((2, 6, 9, 7), (65, 6, 3, 3), 1, 1),
    ((2, 9, 31, 29), (9, 9, 3, 3), 1, 1),  # seven shares
    ((1, 20, 9, 12), (16, 10, 2, 3), (2, 3), (1, 2), (1, 2), 2),
    ((1, 8, 9, 14), (9, 8, 3, 3), (2, 1), 1),  # the first phase has two tiles
    ((1, 9, 8, 9), (8, 9, 1, 1)),  # a plain product
    ((2, 2, 12, 13), (4, 1, 2, 5), 1, 2, 1, 2),  # directly
    ((1, 66, 40, 9), (3, 66, 3, 3), 1, 1),  # 360 terms of a sum
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name, shapes",
    [*(("auto", shapes) for shapes in TOGETHER), *((name, TOGETHER[0]) for name in ALGORITHMS[1:])],
    ids=str,
)
def test_all_gradients_at_once(cuda, name, shapes, dtype, within_rounding, unaligned):
    case = Case(*shapes, dtype=dtype)
    with algorithm.using(name):
        case.check_together(cuda, within_rounding)
        case.check_together(cuda, within_rounding, unaligned, (False, True, True))
        case.check_together(cuda, within_rounding, np.asfortranarray, (True, True, False))
        case.check_together(cuda, within_rounding, wanted=(True, False, True))


def test_an_output_that_is_nan_stops_the_gradient(cuda):
    case = Case((1, 3, 5, 5), (4, 3, 3, 3))
    y = np.full_like(case.gy, np.nan)
    for g in cuda.conv2d_grads(case.gy, y, case.x, case.weight, (True,) * 3, *case.window):
        assert not g.any()


@pytest.mark.parametrize("shapes", [*TOGETHER, ((1, 5, 9, 8), (7, 5, 1, 1))], ids=str)
def test_of_float16_come_the_bits_of_float32_rounded(cuda, shapes, within_rounding):
    case = Case(*shapes, dtype=np.float16)
    with products.using("fp16"):
        *activations, gw = case.run(cuda, lambda a: a.astype(np.float32))
    for got, wanted in zip(case.run(cuda), [*map(narrow, activations), gw], strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    case.check_together(cuda, within_rounding)
    case.weight = case.weight.astype(np.float32)  # as it is when a network learns
    case.check_together(cuda, within_rounding, np.asfortranarray, (True, True, False))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [(63, 65), (64, 64), (65, 1), (1, 63)])
def test_around_the_edges_of_tiles(cuda, channels, kernel, dtype, within_rounding):
    c, oc = channels
    for h, w in [(1, 64), (5, 13), (9, 7), (8, 8)]:  # 64, 65, 63 and 64 pixels
        case = Case((2, c, h, w), (oc, c, kernel, kernel), padding=kernel // 2, dtype=dtype)
        case.check(cuda, within_rounding)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_upsampling_by_a_large_stride(cuda, name, within_rounding):
    """The transposed convolution of FCN-32s, in little: most taps of a pixel meet nothing."""
    with algorithm.using(name):
        Case((1, 5, 40, 40), (5, 5, 16, 16), stride=8).check(cuda, within_rounding)
        Case((1, 5, 23, 9), (4, 5, 3, 2), stride=(7, 3), dilation=(2, 3)).check(
            cuda, within_rounding
        )


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_however_arrays_lie_in_memory(cuda, kernel, name, within_rounding, unaligned):
    case = Case((2, 6, 10, 8), (7, 6, kernel, kernel))
    with algorithm.using(name):
        case.check(cuda, within_rounding, unaligned)
        case.check(cuda, within_rounding, np.asfortranarray)
        case.check(cuda, within_rounding, lambda a: np.repeat(a, 2, axis=-1)[..., ::2])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_pointwise_transpose_with_a_row_more(cuda, name, within_rounding):
    """``output_padding`` may be 1 where the dilation is 2: the row that is added sees nothing."""
    case = Case((1, 5, 9, 9), (4, 5, 1, 1), dilation=2)
    gy, weight = case.gy[..., 1:, 1:], case.weight
    with algorithm.using(name):
        gx = cuda.conv2d_input_grad(gy, weight, None, (9, 9), *case.window)
    exact = np.einsum("noij,oc->ncij", gy.astype("f8"), weight[..., 0, 0].astype("f8"))
    absolute = np.einsum("noij,oc->ncij", np.abs(gy), np.abs(weight[..., 0, 0]))
    within_rounding(gx[..., :8, :8], exact, absolute, 4)
    assert not gx[..., 8, :].any() and not gx[..., 8].any()


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_empty_arrays(cuda, kernel, name):
    window = (1, 1), (0, 0), (1, 1), 1
    with algorithm.using(name):
        no_images = Case((0, 2, 9, 9), (3, 2, kernel, kernel))
        for got, exact in zip(no_images.run(cuda), no_images.run(TWIN), strict=True):
            np.testing.assert_array_equal(got, exact)

        no_channels, weight = np.ones((2, 0, 9, 9)), np.ones((3, 0, kernel, kernel))
        y = cuda.conv2d(no_channels, weight, np.arange(3.0), *window)
        np.testing.assert_array_equal(y, np.broadcast_to(np.arange(3)[:, None, None], y.shape))
        gx = cuda.conv2d_input_grad(y, weight, None, (9, 9), *window)
        assert gx.shape == no_channels.shape
        gw = cuda.conv2d_weight_grad(no_channels, y, (kernel, kernel), *window)
        assert gw.shape == weight.shape


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_relu_and_no_bias(cuda, kernel, name):
    case = Case((2, 9, 8, 9), (70, 9, kernel, kernel))
    with algorithm.using(name):
        plain = cuda.conv2d(case.x, case.weight, case.bias, *case.window)
        y = cuda.conv2d(case.x, case.weight, case.bias, *case.window, relu=True)
        np.testing.assert_array_equal(y, np.maximum(plain, 0))

        unbiased = cuda.conv2d(case.x, case.weight, None, *case.window)
        zero = cuda.conv2d(case.x, case.weight, np.zeros_like(case.bias), *case.window)
        np.testing.assert_array_equal(unbiased, zero)

        case.x[0, 0, 3, 3] = np.nan
        y = cuda.conv2d(case.x, case.weight, case.bias, *case.window, relu=True)
        assert np.isnan(y[0]).any() and not np.isnan(y[1]).any()


def test_mixed_dtypes_give_the_larger_one(cuda):
    case = Case((1, 3, 9, 9), (4, 3, 3, 3))
    y = cuda.conv2d(case.x, case.weight.astype(np.float64), case.bias, *case.window)
    assert y.dtype == np.float64


def test_long_sums_are_cut_and_have_the_same_bits_in_any_order(cuda, within_rounding, monkeypatch):
    case = Case((2, 3, 60, 50), (5, 3, 3, 3), padding=1)
    shares = []
    each = cuda.launch.each
    monkeypatch.setattr(cuda.launch, "each", lambda *a: shares.append(a[-1]) or each(*a))
    case.check(cuda, within_rounding)
    assert shares[-1] > 20  # of sum_parts, which comes last
    first = case.run(cuda)
    monkeypatch.setattr(cuda.engine, "seed", 7)
    for a, b in zip(first, case.run(cuda), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("groups", [1, 3])
def test_shares_of_a_sum_need_not_divide_it(cuda, groups, within_rounding, monkeypatch):
    """1798 pixels are six shares of 272 and one of 166."""
    shares = []
    each = cuda.launch.each
    monkeypatch.setattr(cuda.launch, "each", lambda *a: shares.append(a[-1]) or each(*a))
    for size in ((31, 29), (31, 1)):  # and 62 are one share
        case = Case((2, 9, *size), (9, 9 // groups, 3, 3), padding=1, groups=groups)
        case.check(cuda, within_rounding)
    assert shares[-1 if groups == 1 else 2] == 7 and len(shares) == (1 if groups == 1 else 5)


def test_the_rule(cuda, monkeypatch):
    monkeypatch.delenv("TINYFCN_CUDA_CONV", raising=False)
    launched = []

    class Launch:
        def __call__(self, name, *_):
            launched.append(name)

        def each(self, name, *_):
            launched.append(name)

    monkeypatch.setattr(cuda, "launch", Launch())

    def chosen(*arguments, **options):
        Case(*arguments, **options).run(cuda)
        names, launched[:] = launched[:], []
        return names

    def together(*arguments):
        case = Case(*arguments)
        arrays = case.gy, case.gy, case.x, case.weight
        cuda.conv2d_grads(*arrays, (True,) * 3, *case.window)
        names, launched[:] = launched[:], []
        return names

    assert together((1, 9, 8, 8), (9, 9, 3, 3)) == ["conv2d_grads"]
    assert together((1, 9, 8, 8), (9, 9, 1, 1)) == ["conv2d_grads", "conv1x1"]

    plain = ((1, 9, 8, 8), (9, 9, 1, 1))
    assert chosen(*plain) == ["conv1x1", "conv1x1", "conv2d_weight_grad"]
    implicit = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]
    assert chosen(*plain, padding=1) == implicit
    assert chosen(*plain, stride=2) == implicit
    assert chosen((1, 9, 8, 7), (9, 9, 1, 1)) == implicit  # 56 pixels are less than a tile
    with monkeypatch.context() as m:
        m.setattr(convolution, "LARGEST_AXIS", 1)  # a block for each image
        assert chosen((2, 9, 8, 8), (9, 9, 1, 1)) == implicit
    assert chosen((1, 9, 8, 8), (9, 9, 3, 3)) == implicit
    few = ["conv2d_direct", "conv2d_direct_input_grad", "depthwise_weight_grad"]
    assert chosen((1, 9, 8, 8), (9, 1, 3, 3), groups=9) == few
    assert chosen((1, 14, 8, 8), (14, 7, 1, 1), groups=2) == few
    assert chosen((1, 16, 8, 8), (16, 8, 1, 1), groups=2) == implicit
    with products.using("bf16"):
        tensor = [name.replace("conv2d", "conv2d_tensor") + "<Bf16>" for name in implicit]
        assert chosen(*plain) == chosen((1, 9, 8, 8), (9, 9, 3, 3)) == tensor
        assert chosen((1, 9, 8, 8), (9, 9, 3, 3), dtype=np.float64) == implicit
        assert chosen((1, 9, 8, 8), (9, 1, 3, 3), groups=9) == few
    monkeypatch.setenv("TINYFCN_CUDA_CONV", "direct")
    passes = ["conv2d_direct", "conv2d_direct_input_grad", "conv2d_direct_weight_grad"]
    assert chosen(*plain) == passes
    monkeypatch.setenv("TINYFCN_CUDA_CONV", "im2col")
    assert {*chosen(*plain)} == {"im2col", "col2im", "gemm_4"}
    with algorithm.using("implicit"):
        assert chosen(*plain) == implicit
    monkeypatch.setenv("TINYFCN_CUDA_CONV", "winograd")
    with pytest.raises(
        ValueError, match="TINYFCN_CUDA_CONV: expected one of auto, direct, implicit"
    ):
        chosen(*plain)


@pytest.mark.parametrize(
    "what, x, y, kernel",
    [
        ("an image of the input", (1, 2**11, 2**10, 2**10), (1, 1, 1, 1), (1, 1)),
        ("an image of the output", (1, 1, 1, 1), (1, 2**11, 2**10, 2**10), (1, 1)),
        ("the weight", (1, 2**11, 1, 1), (1, 2**11, 1, 1), (32, 16)),
        ("one channel of all inputs", (2**11, 1, 2**10, 2**10), (2**11, 1, 1, 1), (1, 1)),
        ("one channel of all outputs", (2**11, 1, 1, 1), (2**11, 1, 2**10, 2**10), (1, 1)),
    ],
)  # fmt: skip
def test_what_an_int_cannot_count_is_rejected(what, x, y, kernel):
    with pytest.raises(ValueError, match=f"conv2d: {what} may have {convolution.LARGEST} elements"):
        checked_sizes("conv2d", x, y, (*kernel, 1, 1, 0, 0, 1, 1, 1))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_access_is_allowed(checked, dtype, name, within_rounding, unaligned, monkeypatch):
    with algorithm.using(name):
        cases = [
            Case((2, 6, 9, 7), (65, 6, 3, 3), padding=1, dtype=dtype),
            Case((1, 6, 8, 5), (10, 3, 2, 3), (2, 3), (1, 2), (1, 2), groups=2, dtype=dtype),
            Case((2, 2, 12, 13), (4, 1, 2, 5), 1, 2, groups=2, dtype=dtype),
            Case((1, 9, 8, 9), (8, 9, 1, 1), dtype=dtype),
        ]
        for case in cases:
            case.check(checked, within_rounding)
            case.check_together(checked, within_rounding)
        if name == "auto":  # shares of more than 256 terms, which a thread adds up in several steps
            Case((1, 8, 27, 40), (8, 8, 3, 3), padding=1, dtype=dtype).check_together(
                checked, within_rounding
            )
        monkeypatch.setattr(
            checked, "empty", lambda shape, dtype: unaligned(np.full(shape, np.nan, dtype))
        )
        for case in [Case((1, 6, 8, 8), (4, 6, 3, 3), padding=1, dtype=dtype), cases[-1]]:
            case.check(checked, within_rounding, unaligned)
            case.check_together(checked, within_rounding, unaligned)
    shared = [cost for cost in checked.engine.profile() if cost.memory == "shared"]
    for cost in shared:
        assert cost.factor <= (1 if cost.access == "reads" else 2), cost
    assert shared or name == "direct"
