"""Half precision: 16 bits between primitives, 32 inside, with the same rounding everywhere."""

import numpy as np
import pytest
from arguments import ARGUMENTS, Draw, arrays_of, primitive

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, nn
from tinyfcn.backend import half
from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu import NumpyBackend
from tinyfcn.backend.cpu import half as fast
from tinyfcn.parallel import Group
from tinyfcn.parallel.batch_norm import sync_batch_norm

HALVES = [name for name in ARGUMENTS if name.split()[0] in (*half.ACTIVATIONS, *half.SUMS)]
PLAIN = half.Half()
BACKENDS = [PLAIN, "numpy", "emulator"]
EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
UNIT = {"fp16": 2.0**-11, "bf16": 2.0**-8}  # the relative error of rounding once


def widened(value):
    """Arguments with float32 in the place of float16."""
    if isinstance(value, list | tuple):
        return type(value)(map(widened, value))
    return value.astype(np.float32) if getattr(value, "dtype", None) == np.float16 else value


def test_every_primitive_has_its_place():
    """A new one gives activations, or sums that stay float32, or has nothing to do with either."""
    public = {n for n in dir(Backend) if callable(getattr(Backend, n)) and n[0] != "_"}
    placed = {*half.ACTIVATIONS, *half.SUMS}
    assert placed <= public
    assert public - placed == {
        "adam_update", "all_finite", "as_array", "concat", "conv2d_grads", "cross_entropy",
        "cross_entropy_grad", "empty", "later", "put_class", "sgd_update", "synchronize",
        "take_class", "to_numpy", "upload", "zeros",
    }  # fmt: skip


@pytest.mark.parametrize("which", BACKENDS)
@pytest.mark.parametrize("name", HALVES)
def test_a_primitive_computes_in_float32_and_rounds_once(name, which):
    arguments = ARGUMENTS[name](Draw((2, 6, 9, 8), "float16", "channels last"))
    with backend.using(which) as used:
        exact = arrays_of(primitive(used, name)(*widened(arguments)))
        found = arrays_of(primitive(used, name)(*arguments))
    if name.split()[0] in half.ACTIVATIONS:
        exact[0] = exact[0].astype(np.float16)
    assert [y.dtype for y in found] == [y.dtype for y in exact]
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("which", ["reference", *BACKENDS])
def test_cross_entropy_is_computed_in_float32_and_its_gradient_rounded_once(which):
    x, labels = ARGUMENTS["cross_entropy"](Draw((3, 2, 40, 33), "float16", "channels last"))
    wide, gy = x.astype("f4"), np.full(labels.shape, 1e5, "f4")
    with backend.using(which) as used:
        np.testing.assert_array_equal(
            used.cross_entropy(x, labels), used.cross_entropy(wide, labels), strict=True
        )
        with np.errstate(over="ignore"):
            expected = used.cross_entropy_grad(gy, wide, labels).astype("f2")
        with np.errstate(over="warn" if which in ("numpy", "emulator") else "ignore"):
            found = used.cross_entropy_grad(gy, x, labels)
    assert np.isinf(found).any() and not np.isinf(found).all()
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_input_grad", "matmul"])
def test_float32_weights_are_rounded_where_they_are_multiplied(name):
    x, weight, *more = ARGUMENTS[name](Draw((2, 6, 9, 8), "float32", "C"))
    call, x = primitive(NumpyBackend(), name), x.astype("f2")
    rounded = weight.astype("f2").astype("f4")
    assert not np.array_equal(rounded, weight)
    np.testing.assert_array_equal(call(x, weight, *more), call(x, rounded, *more))


@pytest.mark.parametrize("which", [PLAIN, "numpy"])
def test_bfloat16_is_of_activations_and_operands(which):
    name = "conv2d without_bias"
    x, weight, *more = ARGUMENTS[name](Draw((2, 6, 9, 8), "float32", "C"))
    copies = x.copy(), weight.copy()
    rounded = [half.from_bfloat16(half.to_bfloat16(a)) for a in (x, weight)]
    with backend.using(which) as used:
        with half.products.using("bf16"):
            y = used.conv2d(x, weight, *more)
            gw = used.conv2d_weight_grad(x, y, weight.shape[2:], *more[1:5])
        exact = used.conv2d(*rounded, *more)
        exact_gw = used.conv2d_weight_grad(rounded[0], y, weight.shape[2:], *more[1:5])
    np.testing.assert_array_equal(y, half.from_bfloat16(half.to_bfloat16(exact)))
    np.testing.assert_array_equal(gw, exact_gw)  # of an optimizer: not rounded
    np.testing.assert_array_equal([x, *weight[:0]], [copies[0]])
    np.testing.assert_array_equal(weight, copies[1])


def numbers_to_round():
    """All float16, what lies in the middle of two and beside that, and random numbers."""
    finite = np.sort(EVERY[np.isfinite(EVERY)].astype(np.float32))
    middle = ((finite[1:].astype(float) + finite[:-1]) / 2).astype(np.float32)
    beside = [np.nextafter(middle, np.float32(end)) for end in (-np.inf, np.inf)]
    many = np.random.default_rng(0).standard_normal(1000, dtype=np.float32)
    return np.concatenate([finite, middle, *beside, many, many * 1e-6, [1e-45, -1e-45, -0.0]])


TOO_LARGE = [65519.99, 65520, -65520, 1e38, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("more", [[], TOO_LARGE], ids=["finite", "any"])
def test_fast_conversions_round_as_numpy_does(more):
    used, x = NumpyBackend(), np.append(numbers_to_round(), more).astype(np.float32)
    with np.errstate(over="ignore"):
        exact = x.astype(np.float16)
    np.testing.assert_array_equal(used.cast(x, half.HALF).view("u2"), exact.view("u2"))
    back = used.cast(exact, np.float32)
    np.testing.assert_array_equal(back.view("u4"), exact.astype(np.float32).view("u4"))
    assert fast._narrow(np.empty_like(exact), x) is (not more)  # or NumPy is compared with itself


def network():
    """Positive weights: nothing cancels, so each rounding adds its relative error and no more."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3),
        nn.ConvTranspose2d(12, 8, 4, 2, 1), nn.PReLU(8), nn.Conv2d(8, 2, 1),
    )  # fmt: skip
    last, rng = nn.Linear(2 * 8 * 6, 3), np.random.default_rng(0)
    for p in (*model.parameters(), *last.parameters()):
        p.data[...] = rng.uniform(0.02, 0.2, p.shape)
    return model, rng.uniform(0.1, 1, (2, 3, 12, 10)), last


def gradients(kind, which):
    """Of the network, of a loss scaled by 64, in one precision or in float64."""
    model, images, last = network()
    if kind == "float64":
        model, last = model.astype("f8"), last.astype("f8")
    x = images.astype({"float64": "f8", "fp16": "f2"}.get(kind, "f4"))
    with backend.using(which), half.products.using("float32" if kind == "float64" else kind):
        y = last(model(Tensor(x)).flatten(1))
        F.nll_loss(y * -64.0, tinyfcn.tensor([0, 1])).backward()
        parameters = [*model.parameters(), *last.parameters()]
        return y, [p.grad.numpy() for p in parameters]


@pytest.mark.parametrize("which", BACKENDS)
@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_gradients_of_a_network_are_off_by_its_roundings_alone(kind, which):
    """On the way to an activation or its gradient: images, 7 layers forward and as many backward,
    each with the rounding of its weights and of what it gives, and the product of two of these."""
    roundings = 2 * (1 + 2 * 2 * 8)
    y, found = gradients(kind, which)
    assert y.dtype == (np.float16 if kind == "fp16" else np.float32)
    errors = []
    for g, exact in zip(found, gradients("float64", "reference")[1], strict=True):
        assert g.dtype == np.float32
        errors.append(np.max(np.abs(g - exact) / np.maximum(np.abs(exact), 1e-30)))
    assert UNIT[kind] / 16 < max(errors) < (1 + UNIT[kind]) ** roundings - 1


def test_the_loss_and_what_is_learned_from_is_float32():
    layer, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype("f2")
    y = norm(layer(Tensor(x)))
    for loss in (F.cross_entropy, F.dice_loss, F.focal_loss):
        layer.weight.grad = norm.weight.grad = None
        scalar = loss(y, np.zeros((2, 6, 6), np.int64))
        scalar.backward(retain_graph=True)
        kinds = [t.dtype for t in (scalar, layer.weight.grad, layer.bias.grad, norm.weight.grad)]
        assert kinds == [np.float32] * 4
    assert y.dtype == np.float16
    assert norm.running_var.dtype == np.float32


@pytest.mark.parametrize("over_ranks", [False, True])
def test_a_batch_norm_of_large_activations_does_not_overflow(over_ranks):
    """Their squares are beyond float16, and so are their sum and their variance."""
    x = np.full((1, 1, 64, 64), 1000.0, np.float16)
    x[..., ::2] = -600
    model = nn.Sequential(nn.BatchNorm2d(1))
    if over_ranks:
        sync_batch_norm(model, Group())
    y = model(Tensor(x))
    np.testing.assert_allclose(np.unique(y.numpy()), [-1, 1], rtol=2**-11)
    assert model[0].running_mean.data.item() == pytest.approx(20)
    model.eval()
    model[0].running_var.data[...] = 1e12
    np.testing.assert_allclose(np.unique(model(Tensor(x)).numpy()), [-6.2e-4, 9.8e-4], rtol=2**-10)


def test_gradients_of_fully_connected_weights_are_float32():
    """Larger than float16, and in bfloat16 with more digits than that has."""
    layer, x = nn.Linear(2, 3), np.full((64, 2), 300, np.float16)
    (layer(Tensor(x)).sum() * 300.0).backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), 64 * 300 * 300)
    np.testing.assert_array_equal(layer.bias.grad.numpy(), 64 * 300)
    layer.weight.grad = None
    with half.products.using("bf16"):
        layer(Tensor(np.ones((257, 2), np.float32))).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), 257)


def test_half_on_either_side_of_a_product():
    x, w = np.ones((2, 3), np.float16), np.full((3, 2), 1.001, np.float32)
    used = NumpyBackend()
    assert used.matmul(w, x).dtype == used.matmul(x, w).dtype == np.float16


def test_a_gradient_that_is_too_large_is_infinite_without_a_warning():
    weight = tinyfcn.tensor([[[[1.0]], [[1.0]]]], requires_grad=True)
    y = F.conv2d(Tensor(np.ones((1, 2, 1, 1), np.float16)), weight)
    (y.sum() * 6e4).backward(retain_graph=True)
    np.testing.assert_array_equal(weight.grad.numpy(), 6e4)
    (y.sum() * 6e5).backward()
    assert np.isinf(weight.grad.numpy()).all()


def test_float64_weights_are_rejected_beside_float16():
    with pytest.raises(TypeError, match="x has dtype float16, but weight has float64"):
        F.conv2d(Tensor(np.ones((1, 1, 3, 3), "f2")), Tensor(np.ones((1, 1, 1, 1))))
