"""Arithmetic, reductions and shape ops: NumPy's values, and gradients of both orders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import adjointcheck, gradcheck, gradgradcheck, tensor


def positive(rng, *shape):
    return tensor(rng.uniform(0.5, 2.0, shape), requires_grad=True)


def away_from_zero(rng, shape):
    values = rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)
    return tensor(values, requires_grad=True)


BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}
UNARY = {
    "neg": (lambda x: -x, np.negative),
    "exp": (lambda x: x.exp(), np.exp),
    "log": (lambda x: x.log(), np.log),
    "sqrt": (lambda x: x.sqrt(), np.sqrt),
    "tanh": (lambda x: x.tanh(), np.tanh),
    "square": (lambda x: x**2, np.square),
    "reciprocal": (lambda x: 2.0 / x, lambda x: 2 / x),
    "cube root": (lambda x: x ** (1 / 3), np.cbrt),
    "two to the x": (lambda x: 2.0**x, np.exp2),
    "one minus x": (lambda x: 1.0 - x, lambda x: 1 - x),
}


@pytest.mark.parametrize("name", BINARY)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
def test_binary_ops_broadcast_like_numpy_and_pass_gradcheck(name, shapes):
    rng = np.random.default_rng(0)
    fn = BINARY[name]
    a, b = (away_from_zero(rng, shape) for shape in shapes.input_shapes)
    np.testing.assert_array_equal(fn(a, b).numpy(), fn(a.numpy(), b.numpy()))
    assert gradcheck(fn, [a, b])
    assert gradgradcheck(fn, [a, b], directional=True)


@pytest.mark.parametrize("name", UNARY)
def test_unary_ops(rng, name):
    fn, expected = UNARY[name]
    x = positive(rng, 2, 3)
    np.testing.assert_allclose(fn(x).numpy(), expected(x.numpy()), rtol=1e-14)
    assert gradcheck(fn, x)
    assert gradgradcheck(fn, x)


def test_powers_of_tensors(rng):
    a, b = positive(rng, 2, 3), positive(rng, 3)
    assert gradcheck(F.matmul, [positive(rng, 2, 3), positive(rng, 3, 2)])
    assert gradcheck(lambda a, b: a**b, [a, b])
    assert gradgradcheck(lambda a, b: a**b, [a, b])


def test_powers_at_zero_have_finite_gradients():
    x = tensor([0.0, 0.0, 0.0], requires_grad=True)
    (x ** tensor([0.0, 1.0, 2.0])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 1, 2, 3), (4, 3, 2))],
)
def test_matmul_of_every_rank(rng, a, b):
    a, b = positive(rng, *a), positive(rng, *b)
    np.testing.assert_allclose((a @ b).numpy(), a.numpy() @ b.numpy())
    assert gradcheck(F.matmul, [a, b])
    assert gradgradcheck(F.matmul, [a, b], directional=True)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (1, 2, 3), (0, 2, 3), ()])
def test_reductions(rng, dim, keepdim):
    x = tensor(rng.permutation(48).reshape(2, 4, 3, 2).astype("float64"), requires_grad=True)
    axis = dim if dim is not None else None
    for fn, expected in (
        (lambda t: t.sum(dim, keepdim), np.sum),
        (lambda t: t.mean(dim=dim, keepdim=keepdim), np.mean),
        (lambda t: t.amax(dim, keepdim), np.max),
    ):
        np.testing.assert_allclose(
            fn(x).numpy(), expected(x.numpy(), axis=axis, keepdims=keepdim), rtol=1e-14
        )
        assert gradcheck(fn, x, eps=1e-3)
        assert gradgradcheck(lambda t, fn=fn: fn(t * t), x, eps=1e-3, rtol=1e-6, directional=True)
    assert adjointcheck(lambda t: t.sum(dim, keepdim), x)


def test_the_first_of_equal_maxima_has_the_gradient():
    x = tensor([[1.0, 3.0, 3.0]], requires_grad=True)
    x.amax(dim=1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 1, 0]])


def test_channel_sums_of_float32_stay_close_to_float64(rng):
    x = rng.uniform(0, 1, (2, 300, 400, 3)).astype("float32").transpose(0, 3, 1, 2)
    expected = x.sum((0, 2, 3), dtype="float64")
    np.testing.assert_allclose(tensor(x).sum((0, 2, 3)).numpy(), expected, rtol=1e-6)


INDICES = {
    "number": 1,
    "slice": slice(0, 2),
    "steps backwards": (slice(None), slice(None, None, -2)),
    "ellipsis": (..., 0),
    "new axis": (None, slice(1, 2)),
    "integers with repetition": np.array([0, 2, 0, 0]),
    "pairs": (np.array([0, 1, 0]), np.array([2, 2, 2])),
    "mask": np.arange(12).reshape(3, 4) % 3 == 0,
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing(rng, name):
    x = tensor(rng.standard_normal((3, 4)), requires_grad=True)
    index = INDICES[name]
    np.testing.assert_array_equal(x[index].numpy(), x.numpy()[index])
    assert gradcheck(lambda t: t[index], x)
    assert gradgradcheck(lambda t: t[index] * t[index], x)
    assert adjointcheck(lambda t: t[index], x)


def test_shape_ops(rng):
    x = tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    y = tensor(rng.standard_normal((2, 1, 4)), requires_grad=True)
    for fn in (
        lambda t: t.reshape(4, -1),
        lambda t: t.permute(2, 0, 1),
        lambda t: t.transpose(0, -1),
        lambda t: t.flatten(1),
    ):
        assert gradcheck(fn, x)
        assert gradgradcheck(lambda t, fn=fn: fn(t) * fn(t), x, directional=True)
        assert adjointcheck(fn, x)
    np.testing.assert_array_equal(x.permute(2, 0, 1).numpy(), x.numpy().transpose(2, 0, 1))
    assert x.flatten(1).shape == (2, 12)
    np.testing.assert_array_equal(
        F.cat([x, y], 1).numpy(), np.concatenate([x.numpy(), y.numpy()], 1)
    )
    assert gradcheck(lambda a, b: F.cat([a, b], dim=1), [x, y])
    assert gradgradcheck(lambda a, b: F.cat([a * a, b], dim=-2), [x, y])


@given(st.sampled_from(["float32", "float64"]))
def test_concatenated_images_stay_channels_last(dtype):
    a = np.ones((2, 4, 5, 3), dtype).transpose(0, 3, 1, 2)
    y = F.cat([tensor(a), tensor(a)], dim=1)
    assert y.shape == (2, 6, 4, 5)
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous


def test_cat_rejects_what_does_not_fit():
    a, b = tensor(np.zeros((2, 3))), tensor(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"cat: tensors\[1\] has shape \(2, 4\)"):
        F.cat([a, b], dim=0)
    with pytest.raises(ValueError, match="at least one"):
        F.cat([])
    with pytest.raises(ValueError, match="dim 2 is out of range"):
        F.cat([a, a], dim=2)


def test_manual_seed_repeats():
    tinyfcn.manual_seed(5)
    first = tinyfcn.random.generator().standard_normal(3)
    state = tinyfcn.random.get_state()
    second = tinyfcn.random.generator().standard_normal(3)
    tinyfcn.manual_seed(5)
    np.testing.assert_array_equal(tinyfcn.random.generator().standard_normal(3), first)
    tinyfcn.random.set_state(state)
    np.testing.assert_array_equal(tinyfcn.random.generator().standard_normal(3), second)
