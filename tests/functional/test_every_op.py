"""No op without its derivatives: each one of ``functional`` under random shapes and options.

The files beside this one hold the values to known results; here every gradient, and the gradient of
every gradient, is held to finite differences, and every linear map to its transpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, gradcheck, gradgradcheck

Draw = Callable[[st.SearchStrategy[Any]], Any]
# A function of the tensors that get a gradient, and these tensors.
Case = tuple[Callable[..., Tensor], list[Tensor]]


def small(most: int = 4) -> st.SearchStrategy[int]:
    return st.integers(1, most)


def pair(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


def numbers(draw: Draw, *shape: int) -> Tensor:
    """Different numbers at least 0.01 apart, so that no maximum and no sign changes on the way."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = 0.02 * rng.permutation(np.arange(np.prod(shape)) - np.prod(shape) // 2) + 0.01
    return Tensor(values.reshape(shape), requires_grad=True)


def positive(draw: Draw, *shape: int) -> Tensor:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return Tensor(rng.uniform(0.5, 2.0, shape), requires_grad=True)


def shape(draw: Draw, least: int = 1) -> tuple[int, ...]:
    return tuple(draw(st.lists(small(), min_size=least, max_size=4)))


def image(draw: Draw, least: int = 1, channels: int | None = None) -> Tensor:
    n, c = draw(small(2)), channels or draw(small(3))
    height, width = draw(pair(least, 7))
    return numbers(draw, n, c, height, width)


def unary(fn: Callable[..., Tensor], inputs: Callable[..., Tensor] = numbers) -> Any:
    return lambda draw: (fn, [inputs(draw, *shape(draw))])


def binary(fn: Callable[..., Tensor], inputs: Callable[..., Tensor] = positive) -> Any:
    def case(draw: Draw) -> Case:
        full = shape(draw)
        other = tuple(1 if draw(st.booleans()) else n for n in full[draw(small(2)) - 1 :])
        return fn, [inputs(draw, *full), inputs(draw, *other)]

    return case


def two_of_one_shape(fn: Callable[..., Tensor]) -> Any:
    """All numbers of both different, at least 0.01 apart; or a row that meets every row."""

    def case(draw: Draw) -> Case:
        full = shape(draw)
        a, b = numbers(draw, 2, *full).numpy()
        if draw(st.booleans()):
            b = b[:1]
        return fn, [Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)]

    return case


def clamped(draw: Draw) -> Case:
    low, high = draw(st.sampled_from([(-0.02, 0.04), (None, 0.0), (0.0, None), (0.04, -0.02)]))
    fn, inputs = two_of_one_shape(lambda x, bound: F.clamp(F.clamp(x, low, high), bound))(draw)
    return (fn, inputs) if draw(st.booleans()) else (lambda x: F.clamp(x, low, high), inputs[:1])


def chosen(draw: Draw) -> Case:
    fn, (a, b) = two_of_one_shape(F.where)(draw)
    condition = np.random.default_rng(draw(st.integers(0, 99))).random(a.shape) < 0.5
    return lambda a, b: fn(condition, a, b), [a, b]


def along_an_axis(fn: Callable[..., Tensor], *more: Any) -> Any:
    def case(draw: Draw) -> Case:
        x = numbers(draw, *shape(draw))
        dim = draw(st.integers(-x.ndim, x.ndim - 1))
        return lambda t: fn(t, dim, *more), [x]

    return case


def of_an_image(fn: Callable[..., Tensor], **options: st.SearchStrategy[Any]) -> Any:
    def case(draw: Draw) -> Case:
        chosen = {name: draw(strategy) for name, strategy in options.items()}
        return lambda t: fn(t, **chosen), [image(draw, least=4)]

    return case


def convolution(draw: Draw) -> Case:
    groups, c, oc = draw(small(2)), draw(small(2)), draw(small(2))
    kernel, dilation = draw(pair(1, 3)), draw(pair(1, 2))
    options = {"stride": draw(pair(1, 3)), "padding": draw(pair(0, 2)), "dilation": dilation}
    x = image(draw, least=5, channels=c * groups)
    weight, bias = numbers(draw, oc * groups, c, *kernel), numbers(draw, oc * groups)
    return lambda x, w, b: F.conv2d(x, w, b, groups=groups, **options), [x, weight, bias]


def transposed_convolution(draw: Draw) -> Case:
    groups, c, oc = draw(small(2)), draw(small(2)), draw(small(2))
    stride, dilation = draw(pair(1, 3)), draw(pair(1, 2))
    extra = (draw(st.integers(0, max(axis) - 1)) for axis in zip(stride, dilation, strict=True))
    options = {
        "stride": stride, "padding": draw(pair(0, 1)), "dilation": dilation,
        "output_padding": tuple(extra),
    }  # fmt: skip
    x = image(draw, least=3, channels=c * groups)
    weight, bias = numbers(draw, c * groups, oc, *draw(pair(1, 3))), numbers(draw, oc * groups)
    return lambda x, w, b: F.conv_transpose2d(x, w, b, groups=groups, **options), [x, weight, bias]


def unpooling(draw: Draw) -> Case:
    x, kernel = image(draw, least=4), draw(pair(2, 3))
    stride = tuple(draw(st.integers(1, k)) for k in kernel)
    y, indices = F.max_pool2d(x, kernel, stride, return_indices=True)
    leaf = Tensor(y.numpy(), requires_grad=True)
    return lambda t: F.max_unpool2d(t, indices, kernel, stride, output_size=x.shape), [leaf]


def batch_norm(draw: Draw) -> Case:
    x = image(draw, least=2)
    weight, bias = (positive(draw, x.shape[1]) for _ in range(2))
    training = draw(st.booleans())

    def fn(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean, var = np.zeros(x.shape[1]), np.ones(x.shape[1])
        return F.batch_norm(x, mean, var, weight, bias, training, eps=1e-2)

    return fn, [x, weight, bias]


def loss(fn: Callable[..., Tensor]) -> Any:
    def case(draw: Draw) -> Case:
        x = numbers(draw, draw(small(2)), draw(small(4)), *draw(pair(1, 3)))
        labels = st.sampled_from([*range(x.shape[1]), 255])
        target = np.array([draw(labels) for _ in range(x.size // x.shape[1])])
        target = target.reshape(x.shape[:1] + x.shape[2:])
        weight = draw(st.sampled_from([None, np.linspace(0.5, 2.0, x.shape[1])]))
        reduction = draw(st.sampled_from(["mean", "sum", "none"]))
        return lambda t: fn(t, target, weight, 255, reduction), [x]

    return case


def dropped(fn: Callable[..., Tensor]) -> Any:
    def case(draw: Draw) -> Case:
        seed = draw(st.integers(0, 99))

        def same_mask(t: Tensor) -> Tensor:
            tinyfcn.manual_seed(seed)
            return fn(t, 0.4)

        return same_mask, [image(draw)]

    return case


def cat(draw: Draw) -> Case:
    x = numbers(draw, *shape(draw))
    dim = draw(st.integers(-x.ndim, x.ndim - 1))
    return lambda *ts: F.cat(ts, dim), [x, numbers(draw, *x.shape), numbers(draw, *x.shape)]


def crop(draw: Draw) -> Case:
    x = image(draw)
    top, left = (draw(st.integers(0, n - 1)) for n in x.shape[2:])
    size = draw(small(x.shape[2] - top)), draw(small(x.shape[3] - left))
    return lambda t: F.crop(t, (top, left), size), [x]


def getitem(draw: Draw) -> Case:
    x = numbers(draw, draw(small()), draw(small()))
    rows = st.integers(-x.shape[0], x.shape[0] - 1)
    index = draw(
        st.one_of(
            rows,
            st.lists(rows, min_size=1, max_size=5).map(np.array),  # may name a row twice
            st.just((slice(None, None, -1), None)),
            st.just(np.abs(x.numpy()) < 0.05),
        )
    )
    return lambda t: F.getitem(t, index), [x]


def linear(draw: Draw) -> Case:
    x, outputs = numbers(draw, *shape(draw)), draw(small())
    return F.linear, [x, numbers(draw, outputs, x.shape[-1]), numbers(draw, outputs)]


def matmul(draw: Draw) -> Case:
    lead, m, k, n = shape(draw)[:2], draw(small()), draw(small()), draw(small())
    return F.matmul, [numbers(draw, *lead, m, k), numbers(draw, k, n)]


def permute(draw: Draw) -> Case:
    x = numbers(draw, *shape(draw))
    dims = draw(st.permutations(range(x.ndim)))
    return lambda t: F.permute(t, dims), [x]


def prelu(draw: Draw) -> Case:
    x = image(draw)
    return F.prelu, [x, positive(draw, draw(st.sampled_from([1, x.shape[1]])))]


# "reflect" adds fewer pixels than the image has, which are at least 4.
borders = st.tuples(*[st.integers(0, 3)] * 4)
scale = st.floats(0.4, 2.5)
OPS: dict[str, Callable[[Draw], Case]] = {
    "adaptive_avg_pool2d": of_an_image(F.adaptive_avg_pool2d, output_size=pair(1, 6)),
    "abs": unary(F.abs),
    "add": binary(F.add),
    "amax": along_an_axis(F.amax),
    "avg_pool2d": of_an_image(
        F.avg_pool2d, kernel_size=pair(2, 3), stride=pair(1, 3), padding=pair(0, 1),
        ceil_mode=st.booleans(), count_include_pad=st.booleans(),
    ),
    "batch_norm": batch_norm,
    "cat": cat,
    "clamp": clamped,
    "conv2d": convolution,
    "conv_transpose2d": transposed_convolution,
    "crop": crop,
    "cross_entropy": loss(F.cross_entropy), "dice_loss": loss(F.dice_loss),
    "div": binary(F.div),
    "dropout": dropped(F.dropout),
    "dropout2d": dropped(F.dropout2d),
    "elu": unary(F.elu),
    "exp": unary(F.exp),
    "flatten": along_an_axis(F.flatten),
    "focal_loss": loss(F.focal_loss),
    "getitem": getitem,
    "interpolate": of_an_image(
        lambda t, size, scale_factor, how: F.interpolate(
            t, *((size, None) if scale_factor is None else (None, scale_factor)), *how
        ),
        size=pair(1, 9), scale_factor=st.one_of(st.none(), st.tuples(scale, scale)),
        how=st.sampled_from([("nearest",), ("bilinear", False), ("bilinear", True)]),
    ),
    "leaky_relu": unary(F.leaky_relu),
    "linear": linear,
    "local_response_norm": of_an_image(
        F.local_response_norm, size=small(5), alpha=st.just(0.5), k=st.sampled_from([1.0, 2.0])
    ),
    "log": unary(F.log, positive),
    "log_softmax": along_an_axis(F.log_softmax),
    "matmul": matmul,
    "max_pool2d": of_an_image(
        F.max_pool2d, kernel_size=pair(2, 3), stride=pair(1, 3), padding=pair(0, 1),
        ceil_mode=st.booleans(),
    ),
    "max_unpool2d": unpooling,
    "maximum": two_of_one_shape(F.maximum),
    "mean": along_an_axis(F.mean),
    "minimum": two_of_one_shape(F.minimum),
    "mul": binary(F.mul),
    "neg": unary(F.neg),
    "nll_loss": loss(F.nll_loss),
    "pad": of_an_image(
        F.pad, pad=borders, mode=st.sampled_from(["constant", "reflect", "replicate"])
    ),
    "permute": permute,
    "pow": binary(F.pow),
    "prelu": prelu,
    "relu": unary(F.relu),
    "reshape": unary(lambda t: F.reshape(t, (1, -1))),
    "sigmoid": unary(F.sigmoid),
    "softmax": along_an_axis(F.softmax),
    "sqrt": unary(F.sqrt, positive),
    "sub": binary(F.sub),
    "sum": along_an_axis(F.sum),
    "tanh": unary(F.tanh),
    "transpose": along_an_axis(F.transpose, 0),
    "unpool_bed_of_nails": of_an_image(F.unpool_bed_of_nails, factor=pair(1, 3)),
    "unpool_nearest": of_an_image(F.unpool_nearest, factor=pair(1, 3)),
    "where": chosen,
}  # fmt: skip

# Linear in each input while the others are held, up to a constant.
LINEAR = {
    "adaptive_avg_pool2d", "add", "avg_pool2d", "cat", "conv2d", "conv_transpose2d", "crop",
    "dropout", "dropout2d", "flatten", "getitem", "interpolate", "linear", "matmul", "max_unpool2d",
    "mean", "mul", "neg", "nll_loss", "pad", "permute", "reshape", "sub", "sum", "transpose",
    "unpool_bed_of_nails", "unpool_nearest", "where",
}  # fmt: skip


def test_every_op_is_here():
    assert set(OPS) == set(F.__all__)


@pytest.mark.parametrize("name", OPS)
@settings(max_examples=20)
@given(data=st.data())
def test_derivatives(name, data):
    fn, inputs = OPS[name](data.draw)
    assert gradcheck(fn, inputs, atol=1e-7, rtol=1e-5, directional=True)

    def squared(*tensors):  # so that the second derivative of a linear map is not just 0
        y = fn(*tensors)
        return y * y

    assert gradgradcheck(squared, inputs, atol=1e-7, rtol=1e-5, directional=True)


@pytest.mark.parametrize("name", sorted(LINEAR))
@settings(max_examples=20)
@given(data=st.data())
def test_linear_ops_are_the_transpose_of_their_gradient(name, data):
    fn, inputs = OPS[name](data.draw)
    for i in range(len(inputs)):
        held = [t.detach() for t in inputs]
        assert adjointcheck(lambda t, i=i, held=held: fn(*held[:i], t, *held[i + 1 :]), inputs[i])


# What arrives is multiplied by numbers that are 0 by chance, or by zeros around an image.
MULTIPLYING = {
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "conv2d", "conv_transpose2d",
    "cross_entropy", "dice_loss", "focal_loss", "interpolate", "log_softmax", "pad", "softmax",
    "unpool_bed_of_nails", "unpool_nearest",
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
@settings(max_examples=10)
@given(data=st.data())
def test_a_gradient_goes_where_it_belongs_and_in_the_dtype_of_what_is_there(name, data):
    fn, inputs = OPS[name](data.draw)
    leaves = [Tensor(t.numpy().astype("f4"), requires_grad=True) for t in inputs]
    y = fn(*leaves)
    place = data.draw(st.integers(0, y.size - 1))

    def gradients(value: float) -> Any:
        seed = np.zeros(y.shape)  # float64
        seed.flat[place] = value
        mixed = y * np.ones(y.shape)
        return tinyfcn.grad(mixed, leaves, seed, retain_graph=True, allow_unused=True)

    large = 1e3 if name in MULTIPLYING else np.inf
    with np.errstate(all="ignore"):
        for x, one, other in zip(leaves, gradients(1.0), gradients(large), strict=True):
            assert one is None or one.dtype == other.dtype == x.dtype
            assert one is None or not other.numpy()[one.numpy() == 0].any()


X, WHOLE = tinyfcn.tensor(np.ones((2, 3, 8, 9), "float32")), tinyfcn.tensor([[1, 2, 3]])
DOUBLE = tinyfcn.tensor(np.ones(3))
KERNEL = tinyfcn.tensor(np.ones((3, 3, 2, 2), "float32"))
REJECTED = {
    "conv2d: bias must have shape (3,), got (2,)": lambda: F.conv2d(X, KERNEL, [1.0, 2.0]),
    "conv2d: x has dtype float32, but bias has float64": lambda: F.conv2d(X, KERNEL, DOUBLE),
    "conv_transpose2d: x has dtype float32, but bias has float64": (
        lambda: F.conv_transpose2d(X, KERNEL, DOUBLE)
    ),
    "linear: x has dtype int64, but weight has float32": lambda: F.linear(
        WHOLE, np.ones((2, 3), "f4")
    ),
    "linear: x has dtype float64, but bias has float32": (
        lambda: F.linear(DOUBLE, np.ones((2, 3)), np.ones(2, "f4"))
    ),
    "softmax: dim must be an integer, got 1.0": lambda: F.softmax(X, 1.0),
    "flatten: start_dim 9 is out of range for shape (2, 3, 8, 9)": lambda: F.flatten(X, 9),
    "flatten: end_dim 4 is out of range for shape (2, 3, 8, 9)": lambda: F.flatten(X, 1, 4),
    "dropout: x must have a floating dtype, got int64": lambda: F.dropout(WHOLE),
    "dropout2d: x must have a floating dtype, got int64": lambda: F.dropout2d(WHOLE),
    "batch_norm: running_mean must be a Tensor or an array, got [0.0, 0.0, 0.0]": (
        lambda: F.batch_norm(X, [0.0] * 3, [1.0] * 3)
    ),
    "batch_norm: eps must be at least 0, got -1": (
        lambda: F.batch_norm(X, None, None, training=True, eps=-1)
    ),
}


@pytest.mark.parametrize("message", REJECTED)
def test_errors_name_the_op_and_the_argument(message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        REJECTED[message]()
