"""Is this gradient right? Numerical checks of first and second derivatives, in float64.

A derivative is compared with the symmetric difference quotient (f(x + εv) − f(x − εv)) / 2ε, whose
error is of order ε² plus rounding of order 10⁻¹⁶ / ε: with ε = 10⁻⁶ about ten digits remain. In
float32 the rounding alone would be as large as many gradients, so float32 inputs are rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn import backend
from tinyfcn.graph import grad
from tinyfcn.tensor import Tensor, tensor


class GradientError(AssertionError):
    """A gradient differs from the difference quotient."""


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    directional: bool = False,
    seed: int = 0,
) -> bool:
    """Compare the gradients that backward computes with difference quotients.

    Args:
        fn: takes the inputs, gives a Tensor or a tuple of them; must be smooth near the inputs.
        inputs: the arguments of ``fn``; those Tensors that require a gradient are checked, and must
            be float64.
        eps: step of the difference quotient.
        atol, rtol: allowed difference, absolute and relative to the quotient.
        directional: check the derivative along one random direction (two calls of ``fn``), instead
            of every element of every Jacobian (two calls for each input element).
        seed: of the random directions.

    Returns:
        True.

    Raises:
        GradientError: with the input, the element and both values of the worst difference.
        TypeError: for inputs that are not float64.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([0.5, -1.0], dtype="float64", requires_grad=True)
        >>> gradcheck(lambda t: t.tanh() * t, x)
        True
    """
    arguments, positions = _arguments("gradcheck", inputs)
    checked: list[Tensor] = [arguments[i] for i in positions]
    outputs = _outputs(fn(*arguments))
    if directional:
        _check_direction(fn, arguments, checked, outputs, eps, atol, rtol, seed)
        return True
    for position, x in enumerate(checked):
        numeric = _numeric_jacobians(fn, arguments, x, outputs, eps)
        for number, output in enumerate(outputs):
            where = f"of output {number} with respect to input {position}"
            _compare(where, _jacobian(output, x), numeric[number], atol, rtol)
    return True


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    directional: bool = False,
    seed: int = 0,
) -> bool:
    """Check second derivatives: :func:`gradcheck` of the gradients themselves.

    The gradients are taken as functions of the inputs and of ``grad_outputs`` (random by default).
    They must also be the same with and without ``create_graph``.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([0.5, -1.0], dtype="float64", requires_grad=True)
        >>> gradgradcheck(lambda t: t.tanh() * t, x)
        True
    """
    arguments, positions = _arguments("gradgradcheck", inputs)
    wanted = [arguments[i] for i in positions]
    outputs = _outputs(fn(*arguments))
    if grad_outputs is None:
        random = _random(seed)
        grad_outputs = [tensor(random.standard_normal(y.shape), None, True) for y in outputs]

    plain = grad(outputs, wanted, list(grad_outputs), retain_graph=True, allow_unused=True)
    recorded = grad(outputs, wanted, list(grad_outputs), create_graph=True, allow_unused=True)
    for position, (g, again) in enumerate(zip(plain, recorded, strict=True)):
        if g is not None and again is not None:
            where = f"with respect to input {position} under create_graph=True"
            _compare(where, again.numpy(), g.numpy(), atol, rtol)

    def gradients(*everything: Any) -> tuple[Tensor, ...]:
        values, seeds = everything[: len(arguments)], list(everything[len(arguments) :])
        results = _outputs(fn(*values))
        wanted = [values[i] for i in positions]
        found = grad(results, wanted, seeds, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.requires_grad)

    both = [*arguments, *grad_outputs]
    return gradcheck(gradients, both, eps, atol, rtol, directional, seed)


def adjointcheck(
    fn: Callable[[Tensor], Tensor], x: Tensor, rtol: float = 1e-12, seed: int = 0
) -> bool:
    """Check that backward of a linear map A is its transpose: ⟨A x, g⟩ = ⟨x, Aᵀ g⟩.

    For a linear op this identity is exact, so it holds to the rounding of two dot products: the
    difference is measured against ‖A x‖ · ‖g‖. An affine map is taken without its constant part.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
        >>> adjointcheck(lambda t: t * 3.0, x)
        True
    """
    (x,), _ = _arguments("adjointcheck", x)
    y = fn(x)
    constant = fn(Tensor(x.data * 0)).numpy()
    random = _random(seed)
    g = random.standard_normal(y.shape)
    (gx,) = _gradients(y, [x], g)
    forward = y.numpy() - constant
    left, right = float(np.vdot(forward, g)), float(np.vdot(x.numpy(), gx))
    norm = np.linalg.norm
    scale = float(norm(forward) * norm(g) + norm(x.numpy()) * norm(gx))
    if not abs(left - right) <= rtol * max(scale, 1e-300):
        raise GradientError(f"adjointcheck: ⟨A x, g⟩ = {left!r}, but ⟨x, Aᵀ g⟩ = {right!r}")
    return True


def _arguments(op: str, inputs: Any) -> tuple[list[Any], list[int]]:
    """The arguments, and the places of those to check."""
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    positions = [i for i, t in enumerate(arguments) if isinstance(t, Tensor) and t.requires_grad]
    if not positions:
        raise ValueError(f"{op}: no input requires a gradient")
    if any(arguments[i].dtype != np.float64 for i in positions):
        raise TypeError(f"{op}: inputs must be float64, since float32 rounds too coarsely")
    return arguments, positions


def _outputs(result: Any) -> list[Tensor]:
    """The differentiable outputs; indices and masks have no gradient to check."""
    results = result if isinstance(result, tuple | list) else (result,)
    return [y for y in results if isinstance(y, Tensor) and y.requires_grad]


def _gradients(output: Tensor, inputs: list[Tensor], gradient: Any) -> list[Any]:
    seed = Tensor(backend.active().as_array(gradient))
    found = grad(output, inputs, seed, retain_graph=True, allow_unused=True)
    pairs = zip(found, inputs, strict=True)
    return [np.zeros(x.shape) if g is None else g.numpy() for g, x in pairs]


def _random(seed: int) -> np.random.Generator:
    # Not default_rng(seed): the input may have been drawn from that, and where x equals g the two
    # sides of an identity can agree by symmetry.
    return np.random.default_rng((seed, 1411, 4038))


def _jacobian(output: Tensor, x: Tensor) -> Any:
    """d(output) / d(x), shape (*output.shape, *x.shape): one backward pass for each row."""
    jacobian = np.zeros(output.shape + x.shape)
    for element in np.ndindex(output.shape):
        one = np.zeros(output.shape)
        one[element] = 1.0
        (jacobian[element],) = _gradients(output, [x], one)
    return jacobian


def _numeric_jacobians(
    fn: Callable[..., Any], arguments: list[Any], x: Tensor, outputs: list[Tensor], eps: float
) -> list[Any]:
    """The same from difference quotients, for every output: two calls of fn for each column."""
    jacobians = [np.zeros(y.shape + x.shape) for y in outputs]
    for element in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[element] = eps
        differences = _difference(fn, arguments, [(x, step)])
        for jacobian, difference in zip(jacobians, differences, strict=True):
            jacobian[(..., *element)] = difference / eps
    return jacobians


def _check_direction(
    fn: Callable[..., Any], arguments: list[Any], checked: list[Tensor], outputs: list[Tensor],
    eps: float, atol: float, rtol: float, seed: int,
) -> None:  # fmt: skip
    """⟨gradient, v⟩ against the quotient of ⟨output, u⟩ along v, for random u and v."""
    random = _random(seed)
    directions = [random.standard_normal(x.shape) for x in checked]
    weights = [random.standard_normal(y.shape) for y in outputs]
    analytic = 0.0
    for output, u in zip(outputs, weights, strict=True):
        for g, v in zip(_gradients(output, checked, u), directions, strict=True):
            analytic += float(np.vdot(g, v))
    steps = [(x, eps * v) for x, v in zip(checked, directions, strict=True)]
    differences = zip(_difference(fn, arguments, steps), weights, strict=True)
    numeric = np.sum([np.vdot(d, u) / eps for d, u in differences])
    _compare("along a random direction", np.array(analytic), numeric, atol, rtol)


def _difference(
    fn: Callable[..., Any], arguments: list[Any], steps: list[tuple[Tensor, Any]]
) -> list[Any]:
    """(f(x + step) − f(x − step)) / 2 for every output; ``steps`` may move several inputs."""
    originals = [t.data for t, _ in steps]
    values = []
    try:
        for sign in (1.0, -1.0):
            for (t, step), original in zip(steps, originals, strict=True):
                t.data = original + backend.active().as_array(sign * step)
            values.append([y.numpy().copy() for y in _outputs(fn(*arguments))])
    finally:
        for (t, _), original in zip(steps, originals, strict=True):
            t.data = original
    return [(above - below) / 2 for above, below in zip(*values, strict=True)]


def _compare(where: str, analytic: Any, numeric: Any, atol: float, rtol: float) -> None:
    excess = np.abs(analytic - numeric) - (atol + rtol * np.abs(numeric))
    if not np.all(excess <= 0):  # so written that NaN fails
        worst = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape)
        raise GradientError(
            f"the derivative {where} is wrong: at {tuple(int(i) for i in worst)} backward gives "
            f"{analytic[worst]:.9g}, the difference quotient {numeric[worst]:.9g}"
        )
