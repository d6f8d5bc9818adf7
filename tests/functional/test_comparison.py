"""abs, where, minimum, maximum and clamp: values at the edges, and gradients as in PyTorch."""

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import backend, tensor

NAN, INF = float("nan"), float("inf")


def slopes(fn, *values):
    """The gradient of the sum with respect to each argument."""
    leaves = [tensor(v, requires_grad=True) for v in values]
    fn(*leaves).sum().backward()
    return [leaf.grad.numpy().tolist() for leaf in leaves]


def test_abs():
    x = tensor([-2.0, 0.0, -0.0, INF, -INF, NAN])
    np.testing.assert_array_equal(F.abs(x).numpy(), np.abs(x.numpy()))
    assert slopes(F.abs, [-2.0, 0.0, 3.0]) == [[-1.0, 0.0, 1.0]]  # 0 at 0, as in PyTorch
    assert F.abs(tensor([-3, 4])).numpy().tolist() == [3, 4]


def test_where_takes_one_and_its_gradient():
    condition = np.array([True, False, True])
    y = F.where(condition, tensor([1.0, 2.0, 3.0]), -1.0)
    assert y.numpy().tolist() == [1.0, -1.0, 3.0] and y.dtype == "float32"
    both = slopes(lambda a, b: F.where(condition, a, b), [1.0, 2.0, 3.0], [9.0])
    assert both == [[1.0, 0.0, 1.0], [1.0]]
    # What was not chosen does not reach the result, not even as 0 · ∞.
    picked = F.where(condition, tensor([1.0, INF, 2.0]), tensor([NAN, 5.0, NAN]))
    assert picked.numpy().tolist() == [1.0, 5.0, 2.0]


def test_where_on_integers_and_float64():
    picked = F.where([True, False], tensor([1, 2]), tensor([3, 4]))
    assert picked.numpy().tolist() == [1, 4] and picked.dtype.kind == "i"
    assert F.where([True, False], tensor(np.ones(2)), 0.5).dtype == "float64"


def test_where_rejects_what_is_no_condition():
    with pytest.raises(TypeError, match="where: condition must be boolean, got int64"):
        F.where(tensor([1, 0]), 1.0, 2.0)
    with pytest.raises(ValueError, match=r"where: shapes \(3,\) and \(2,\) do not broadcast"):
        F.where([True, False, True], tensor([1.0, 2.0]), 0.0)


@pytest.mark.parametrize(("op", "twin"), [(F.maximum, np.maximum), (F.minimum, np.minimum)])
def test_maximum_and_minimum(op, twin, rng):
    a, b = rng.standard_normal((3, 4)), rng.standard_normal(4)
    a[0, 0], a[1, 1], b[2], b[3] = NAN, -INF, INF, NAN
    np.testing.assert_array_equal(op(tensor(a), tensor(b)).numpy(), twin(a, b))
    larger = 1.0 if op is F.maximum else 0.0
    # Equal ones share the gradient, as in PyTorch.
    assert slopes(op, [1.0, 5.0, 2.0], [3.0, 4.0, 2.0]) == [
        [1.0 - larger, larger, 0.5], [larger, 1.0 - larger, 0.5],
    ]  # fmt: skip
    assert op(tensor([1, 7]), 3).numpy().tolist() == twin([1, 7], 3).tolist()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (None, 0.5), (0.5, None), (2.0, -1.0)])
def test_clamp(low, high):
    values = np.array([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0, INF, -INF])
    at_least = values if low is None else np.maximum(values, low)
    expected = at_least if high is None else np.minimum(at_least, high)
    np.testing.assert_array_equal(F.clamp(tensor(values), low, high).numpy(), expected)
    assert np.isnan(F.clamp(tensor([NAN]), low, high).item())


def test_the_gradient_passes_clamp_up_to_the_bounds_themselves():
    x = [-2.0, -1.0, 0.0, 2.0, 3.0]
    assert slopes(lambda t: F.clamp(t, -1.0, 2.0), x) == [[0.0, 1.0, 1.0, 1.0, 0.0]]
    both = slopes(lambda t, bound: F.clamp(t, bound), [0.0, 1.0, 2.0], [1.0, 1.0, 1.0])
    assert both == [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]


def test_clamp_wants_a_bound():
    with pytest.raises(ValueError, match="clamp: expected min, max or both, got neither"):
        F.clamp(tensor([1.0]))


def test_hardswish_is_made_of_them_on_every_backend():
    """x · min(max(x + 3, 0), 6) / 6 (Howard et al., MobileNetV3, ICCV 2019, section 5.2)."""
    x = np.linspace(-4, 4, 9)
    expected = x * np.minimum(np.maximum(x + 3, 0), 6) / 6
    for name in ("numpy", "reference"):
        with backend.using(name):
            t = tensor(x)
            np.testing.assert_allclose((t * F.clamp(t + 3.0, 0.0, 6.0) / 6.0).numpy(), expected)
