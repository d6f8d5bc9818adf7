"""The checker must find wrong gradients, or every test that rests on it is worth nothing."""

import numpy as np
import pytest

from tinyfcn import (
    Function,
    Tensor,
    adjointcheck,
    gradcheck,
    gradgradcheck,
    is_grad_enabled,
    no_grad,
    tensor,
)
from tinyfcn.gradcheck import GradientError


class ScaledGradient(Function):
    """exp(x) whose gradient is off by a factor, in the first or in the second derivative."""

    def __init__(self, first=1.0, second=1.0):
        self.first, self.second = first, second

    def forward(self, x):
        self.save_for_backward(x)
        return np.exp(x)

    def backward(self, gy):
        (x,) = self.saved_tensors
        y = ScaledGradient(self.second)(x) if self.second != 1.0 else x.exp()
        return gy * y * self.first


@pytest.fixture
def x(rng):
    return tensor(rng.standard_normal((2, 3)), requires_grad=True)


@pytest.mark.parametrize("directional", [False, True])
def test_right_gradients_pass(x, directional):
    assert gradcheck(lambda t: ScaledGradient()(t), x, directional=directional)
    assert gradgradcheck(lambda t: ScaledGradient()(t), x, directional=directional)


@pytest.mark.parametrize("directional", [False, True])
def test_a_first_derivative_off_by_one_percent_is_found(x, directional):
    with pytest.raises(GradientError, match="difference quotient"):
        gradcheck(lambda t: ScaledGradient(first=1.01)(t), x, directional=directional)


@pytest.mark.parametrize("directional", [False, True])
def test_a_second_derivative_off_by_one_percent_is_found(x, directional):
    def fn(t):
        return ScaledGradient(second=1.01)(t)

    assert gradcheck(fn, x)
    with pytest.raises(GradientError):
        gradgradcheck(fn, x, directional=directional)


def test_a_gradient_that_is_wrong_only_while_it_is_recorded_is_found(x):
    class Moody(Function):
        def forward(self, t):
            return t * 2

        def backward(self, gy):
            return gy * (3.0 if is_grad_enabled() else 2.0)

    with pytest.raises(GradientError, match="create_graph"):
        gradgradcheck(lambda t: Moody()(t), x)


def test_one_wrong_element_is_named(x):
    class OneWrong(Function):
        def forward(self, t):
            return t * 2

        def backward(self, gy):
            scale = np.full(gy.shape, 2.0)
            scale[1, 2] = 2.5
            return gy * Tensor(scale)

    with pytest.raises(GradientError, match=r"at \(1, 2, 1, 2\) backward gives 2.5"):
        gradcheck(lambda t: OneWrong()(t), x)


def test_nan_gradients_fail(x):
    class Nan(Function):
        def forward(self, t):
            return t * 2

        def backward(self, gy):
            return gy * float("nan")

    with pytest.raises(GradientError):
        gradcheck(lambda t: Nan()(t), x)


def test_several_inputs_and_outputs(rng):
    a = tensor(rng.standard_normal((2, 3)), requires_grad=True)
    b = tensor(rng.standard_normal((3, 2)), requires_grad=True)
    assert gradcheck(lambda a, b: (a @ b, a.sum()), [a, b])
    assert gradgradcheck(lambda a, b: a @ b, [a, b])


@no_grad()
def forgotten(t):
    return t.exp()


# What has lost its graph, as the only output or beside one that has not.
CUT = {
    "by NumPy": lambda t: Tensor(np.sin(t.numpy())),
    "an array": lambda t: np.sin(t.numpy()),
    "a number": lambda t: float(np.sin(t.numpy()).sum()),
    "by detach": lambda t: (t * t).detach(),
    "in the middle": lambda t: (t * t).detach() * 3.0,
    "by no_grad": forgotten,
}
NOTHING = {
    "indices": lambda t: t.argmax(1),
    "a mask": lambda t: t > 0,
    "a constant": lambda t: tensor([1.0]),
    "no output": lambda t: (),
    "None": lambda t: None,
    "no elements": lambda t: t[:0],
}


@pytest.mark.parametrize("directional", [False, True])
@pytest.mark.parametrize("name", [*CUT, *NOTHING])
def test_a_check_that_checks_nothing_fails(x, name, directional):
    fn = (CUT | NOTHING)[name]
    for check in (gradcheck, gradgradcheck):
        with pytest.raises(GradientError, match=f"{check.__name__}: nothing to check"):
            check(fn, x, directional=directional)
    with pytest.raises(GradientError, match="adjointcheck: nothing to check"):
        adjointcheck(fn, x)


@pytest.mark.parametrize("directional", [False, True])
@pytest.mark.parametrize("name", CUT)
def test_an_output_without_gradient_has_a_derivative_of_zero(x, name, directional):
    with pytest.raises(GradientError, match=r"is wrong: at .* backward gives 0|random direction"):
        gradcheck(lambda t: (t * t, CUT[name](t)), x, directional=directional)


@pytest.mark.parametrize("directional", [False, True])
@pytest.mark.parametrize("name", NOTHING)
def test_what_has_no_derivative_may_stand_beside_what_has_one(x, name, directional):
    assert gradcheck(lambda t: (t * t, NOTHING[name](t)), x, directional=directional)


def by_hand(derivative):
    """exp, with this function of x and gy for its backward pass."""

    class ByHand(Function):
        def forward(self, x):
            self.save_for_backward(x)
            return np.exp(x)

        def backward(self, gy):
            return derivative(*self.saved_tensors, gy)

    return lambda t: ByHand()(t)


@pytest.mark.parametrize("directional", [False, True])
@pytest.mark.parametrize(
    "derivative",
    [
        lambda x, gy: gy * x.detach().exp(),
        lambda x, gy: (gy * x.exp()).detach(),
        lambda x, gy: gy.detach() * x.exp(),
        lambda x, gy: Tensor(gy.numpy() * np.exp(x.numpy())),
        no_grad()(lambda x, gy: gy * x.exp()),
    ],
)
def test_a_second_derivative_that_is_cut_off_is_found(x, derivative, directional):
    assert gradcheck(by_hand(derivative), x, directional=directional)
    with pytest.raises(GradientError):
        gradgradcheck(by_hand(derivative), x, directional=directional)


def test_one_of_two_first_derivatives_may_lose_its_graph_only_if_it_is_constant(x):
    y = tensor(x.numpy() + 3, requires_grad=True)

    class Product(Function):
        def forward(self, a, b):
            self.save_for_backward(a, b)
            return a * b

        def backward(self, gy):
            a, b = self.saved_tensors
            return gy * b, Tensor(gy.numpy() * a.numpy())

    with pytest.raises(GradientError):
        gradgradcheck(lambda a, b: Product()(a, b), [x, y])


def test_no_elements_to_check_are_rejected():
    with pytest.raises(ValueError, match="no elements"):
        gradcheck(lambda t: t * 2, tensor(np.zeros((0, 3)), requires_grad=True))


def test_adjointcheck_at_0_checks_elsewhere():
    class Twice(Function):
        def forward(self, t):
            return t * 2

        def backward(self, gy):
            return gy * 3.0

    with pytest.raises(GradientError):
        adjointcheck(lambda t: Twice()(t), tensor(np.zeros(3), requires_grad=True))


def test_float32_is_rejected():
    with pytest.raises(TypeError, match="float64"):
        gradcheck(lambda t: t * 2, tensor([1.0], requires_grad=True))


def test_no_input_to_check_is_rejected():
    with pytest.raises(ValueError, match="requires a gradient"):
        gradcheck(lambda t: t * 2, tensor([1.0]))


def test_inputs_are_left_as_they_were(x):
    before = x.data.copy()
    gradcheck(lambda t: t * t, x)
    np.testing.assert_array_equal(x.data, before)
    assert x.grad is None


def test_adjointcheck_finds_a_backward_that_is_not_the_transpose(x):
    class NotTransposed(Function):
        def forward(self, t):
            return np.roll(t, 1, axis=1)

        def backward(self, gy):
            return Tensor(np.roll(gy.data, 1, axis=1))

    with pytest.raises(GradientError, match="adjointcheck"):
        adjointcheck(lambda t: NotTransposed()(t), x)
    assert adjointcheck(lambda t: t[:, ::2] * 3.0 + 1.0, x)
