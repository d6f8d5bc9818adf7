"""Walking the graph: sums of gradients, freed buffers, long chains, ownership of memory."""

import gc
import weakref

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Function, Tensor, grad, tensor


def leaf(*values):
    return tensor(list(values), dtype="float64", requires_grad=True)


def test_gradients_of_all_paths_are_summed():
    x = leaf(3.0)
    y = x * x
    (y * y + y * x).backward()  # x⁴ + x³
    assert x.grad.item() == 4 * 27 + 3 * 9


def test_backward_adds_to_grad():
    x = leaf(2.0)
    for _ in range(3):
        (x * 5).backward()
    assert x.grad.item() == 15


def tied(weight, bias, x):
    """Convolutions that share what they learn, or have copies each."""
    for w, b in zip(weight, bias, strict=True):
        x = F.tanh(F.conv2d(x, w, b, padding=1))
    return x.sum()


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_a_shared_weight_gets_its_gradients_in_the_order_of_the_ops(monkeypatch, rng, threads):
    """Those of leaves are computed beside the walk; that must not show in a single bit."""
    monkeypatch.setenv("TINYFCN_NUM_THREADS", threads)
    x = tensor(rng.standard_normal((2, 3, 40, 40)).astype("float32"))
    shared = [
        tensor(rng.standard_normal(shape).astype("float32"), requires_grad=True)
        for shape in ((3, 3, 3, 3), 3)
    ]
    copies = [[tensor(t.numpy().copy(), requires_grad=True) for _ in range(7)] for t in shared]
    tied(*([t] * 7 for t in shared), x).backward()
    tied(*copies, x).backward()
    for t, each in zip(shared, copies, strict=True):
        total = each[-1].grad.numpy()
        for copy in each[-2::-1]:
            total = total + copy.grad.numpy()
        assert t.grad.numpy().tobytes() == total.tobytes()


def test_an_error_in_the_midst_leaves_nothing_behind(rng):
    class Wrong(Function):
        def forward(self, x):
            return x * 1

        def backward(self, gy):
            raise KeyError("in the midst")

    weight = tensor(rng.standard_normal((8, 8, 3, 3)), requires_grad=True)
    x = tensor(rng.standard_normal((2, 8, 32, 32)))
    with pytest.raises(KeyError, match="in the midst"):
        F.conv2d(Wrong()(F.conv2d(x, weight)), weight).sum().backward()
    assert weight.grad is None
    (twice,) = grad(F.conv2d(x, weight).sum() * 2, weight)
    (once,) = grad(F.conv2d(x, weight).sum(), weight)
    assert np.array_equal(twice.numpy(), 2 * once.numpy())


def test_a_chain_of_a_hundred_thousand_ops():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y  # the chain must also come apart without deep recursion


def test_ops_run_only_when_every_gradient_of_theirs_has_arrived():
    calls = []

    class Traced(Function):
        def forward(self, x):
            return x * 1

        def backward(self, gy):
            calls.append(gy.item())
            return gy

    x = leaf(1.0)
    y = Traced()(x)
    z = y
    for _ in range(4):
        z = z + y  # y is used at five depths
    z.backward()
    assert calls == [5.0]


def test_second_backward_is_rejected_with_the_reason():
    x = leaf(1.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match=r"buffers of Mul were freed.*retain_graph=True"):
        y.backward()


def test_retain_graph_allows_a_second_backward():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12


def test_buffers_go_during_backward_without_the_garbage_collector():
    gc.disable()
    try:
        x = tensor(np.ones(10), requires_grad=True)
        y = (x * 2).exp()
        kept = weakref.ref(y.data)
        z = y.sum()
        del y
        assert kept() is not None  # exp keeps its output for backward
        z.backward()
        assert kept() is None
    finally:
        gc.enable()


def test_forgotten_results_take_their_graph_along_without_the_garbage_collector():
    gc.disable()
    try:
        x = tensor(np.ones(10), requires_grad=True)
        y = (x * 2).exp()
        kept = weakref.ref(y.data)
        del y
        assert kept() is None
    finally:
        gc.enable()


def test_gradients_of_gradients_of_gradients():
    x = leaf(2.0)
    derivative = x**4
    for expected in (4 * 2.0**3, 12 * 2.0**2, 24 * 2.0, 24.0):
        (derivative,) = grad(derivative, x, create_graph=True)
        assert derivative.item() == pytest.approx(expected)


def test_create_graph_through_grad_attribute():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = grad(x.grad, x)
    assert second.item() == pytest.approx(18)


def test_grad_leaves_grad_attributes_alone_and_reaches_intermediates():
    x, w = leaf(2.0), leaf(5.0)
    y = x * w
    z = y * y
    gy, gx = grad(z, [y, x])
    assert (gy.item(), gx.item()) == (20.0, 100.0)
    assert x.grad is None
    assert w.grad is None


def test_grad_skips_what_nobody_asked_for():
    asked = []

    class Watched(Function):
        def forward(self, a, b):
            return a * b

        def backward(self, gy):
            asked.append(self.needs_input_grad)
            return gy, None

    a, b = leaf(1.0), leaf(2.0)
    grad(Watched()(a, b), a)
    assert asked == [(True, False)]


def test_unused_inputs_are_named_or_none():
    x, other = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match=r"inputs\[1\] does not take part"):
        grad(x * 2, [x, other])
    assert grad(x * 2, [x, other], allow_unused=True)[1] is None
    with pytest.raises(ValueError, match=r"inputs\[0\] does not require"):
        grad(x * 2, tensor([1.0]))


def test_several_outputs_and_grad_outputs():
    x = leaf(1.0, 2.0)
    (g,) = grad([x * 2, x * x], x, [tensor([1.0, 0.0]), tensor([0.0, 3.0])])
    np.testing.assert_array_equal(g.numpy(), [2.0, 12.0])


def test_backward_asks_for_a_gradient_where_there_is_no_obvious_one():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="requires a gradient"):
        tensor([1.0]).backward()
    (x * 2).backward(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 20.0])


def test_leaves_own_their_gradients():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = np.ones(2)
    (a + b).backward(seed)  # add passes the very same array to both
    a.grad.data *= 10
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1])
    np.testing.assert_array_equal(seed, [1, 1])
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    ((a + b) * 1.0).sum().backward()  # here too, and nobody outside holds it
    a.grad.data *= 10
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1])
    c = leaf(1.0, 2.0)
    c.sum().backward()  # sum passes a read-only repeated element
    c.grad.data *= 2
    np.testing.assert_array_equal(c.grad.numpy(), [2, 2])


def test_saved_inputs_that_share_memory_keep_their_own_place_in_the_graph():
    x = leaf(3.0)
    y = x * x.detach()  # d/dx = the detached x, a constant
    (first,) = grad(y, x, create_graph=True)
    assert first.item() == 3.0
    assert not first.requires_grad


def test_a_wrong_gradient_shape_is_the_fault_of_the_op_named():
    class Wrong(Function):
        def forward(self, x):
            return x * 1

        def backward(self, gy):
            return gy.sum()

    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"Wrong.backward gave .* shape \(\).*shape \(2,\)"):
        Wrong()(x).sum().backward()


@pytest.mark.parametrize("gradients", [0, 1, 3])
def test_a_wrong_number_of_gradients_is_the_fault_of_the_op_named(gradients):
    class Miscounting(Function):
        def forward(self, a, b):
            return a * b

        def backward(self, gy):
            return (gy,) * gradients

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    message = f"Miscounting.backward gave {gradients} gradients for 2 inputs"
    with pytest.raises(RuntimeError, match=message):
        Miscounting()(a, b).sum().backward()


def test_integer_outputs_have_no_gradient():
    class WithIndex(Function):
        def forward(self, x):
            return x * 2, x.argsort()

        def backward(self, gy, g_index):
            assert g_index is None
            return gy * 2

    x = leaf(1.0, 2.0)
    y, index = WithIndex()(x)
    assert y.requires_grad
    assert not index.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2])


ARRAY = np.array([1.0, 2.0])  # float64
OTHERS = {
    "float64": lambda x: x * ARRAY,
    "int64": lambda x: x * np.array([1, 0]),
    "a division": lambda x: ARRAY / x,
    "a power": lambda x: x**ARRAY,
    "a float64 weight": lambda x: tinyfcn.functional.linear((x * ARRAY).reshape(1, 2), np.eye(2)),
    "a longer way": lambda x: ((x * 2).exp() + ARRAY).tanh().sum() * np.float64(3),
    "twice": lambda x: x * ARRAY + x.exp(),
    "a choice": lambda x: tinyfcn.functional.where(ARRAY > 1, x, ARRAY),
    "an op that forgets it": lambda x: Careless()(x),
}


class Careless(Function):
    """x, with a gradient in float64."""

    def forward(self, x):
        return x * 1

    def backward(self, gy):
        return Tensor(gy.numpy().astype("float64"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_gradient_has_the_dtype_of_its_leaf(name, dtype):
    x = tensor([0.5, 1.5], dtype=dtype, requires_grad=True)
    for _ in range(2):
        OTHERS[name](x).sum().backward()
        assert x.grad.dtype == dtype
    z = x * 1
    y = OTHERS[name](z).sum()
    first = grad(y, [x, z], create_graph=True)
    assert [g.dtype for g in first] == [dtype, dtype]
    if first[0].requires_grad:
        (second,) = grad(first[0].sum(), x, allow_unused=True)
        assert second is None or second.dtype == dtype
    exact = tensor(x.numpy(), dtype="float64", requires_grad=True)
    OTHERS[name](exact).sum().backward()
    np.testing.assert_allclose(first[0].numpy(), exact.grad.numpy(), rtol=2e-3)


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float16")])
def test_each_of_two_leaves_keeps_its_dtype(dtypes):
    a, b = (tensor([2.0, 3.0], dtype=d, requires_grad=True) for d in dtypes)
    (a * b + a / b).backward(np.array([1, 2]))  # in integers
    assert (a.grad.dtype, b.grad.dtype) == dtypes
    np.testing.assert_allclose(a.grad.numpy(), [2.5, 2 * (3 + 1 / 3)], rtol=1e-3)
    (g,) = grad((a * b).sum(), b, create_graph=True)
    (mixed,) = grad(g, a, np.ones(2))
    assert mixed.dtype == dtypes[0]
    assert mixed.numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("seed", [np.float64([1, 3]), np.array([1, 3]), np.array([True, False])])
def test_a_gradient_given_in_another_dtype_is_cast(seed):
    x = tensor([1.0, 2.0], requires_grad=True)
    x.backward(seed)
    (g,) = grad(x * 2, x, seed)
    assert (x.grad.dtype, g.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(x.grad.numpy() * 2, g.numpy())


def test_optional_inputs_may_be_absent():
    class MaybeAdd(Function):
        def forward(self, x, bias):
            return x if bias is None else x + bias

        def backward(self, gy):
            return gy, gy if self.needs_input_grad[1] else None

    x = leaf(1.0)
    MaybeAdd()(x, None).backward()
    MaybeAdd()(x, Tensor(np.ones(1))).backward()
    assert x.grad.item() == 2


def test_no_grad_inside_backward_costs_no_graph():
    x = leaf(2.0)
    (x**2).backward()
    assert not x.grad.requires_grad
    assert tinyfcn.is_grad_enabled()
