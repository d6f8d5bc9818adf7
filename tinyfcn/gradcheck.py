"""Is this gradient right? Numerical checks of first and second derivatives, in float64.

A derivative is compared with the symmetric difference quotient (f(x + εv) − f(x − εv)) / 2ε, whose
error is of order ε² plus rounding of order 10⁻¹⁶ / ε: with ε = 10⁻⁶ about ten digits remain. In
float32 the rounding alone would be as large as many gradients, so float32 inputs are rejected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn import backend
from tinyfcn.function import as_tensor
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
            Of what else it gives, numbers of a floating dtype must not depend on the inputs.
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
        GradientError: with the input, the element and both values of the worst difference; or
            because nothing that ``fn`` gives has a gradient.
        TypeError, ValueError: for inputs that are not float64, or if none requires a gradient.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([0.5, -1.0], dtype="float64", requires_grad=True)
        >>> gradcheck(lambda t: t.tanh() * t, x)
        True
    """
    arguments, positions = _arguments("gradcheck", inputs)
    checked: list[Tensor] = [arguments[i] for i in positions]
    outputs = _outputs("gradcheck", fn(*arguments))
    if directional:  # ⟨gradient of ⟨outputs, u⟩, v⟩ and its difference quotient along v
        random = _random(seed)
        v = [random.standard_normal(x.shape) for x in checked]
        u = [random.standard_normal(y.shape) for y in outputs]
        differences = _difference(fn, arguments, checked, [eps * step for step in v])
        analytic = _dot(_gradients(outputs, checked, u), v)
        _compare("along a random direction", analytic, _dot(differences, u) / eps, atol, rtol)
        return True
    for position, x in enumerate(checked):
        # Two calls of fn for each column of the Jacobians, one backward pass for each row.
        columns = [_difference(fn, arguments, [x], [eps * unit]) for unit in _units(x.shape)]
        for number, output in enumerate(outputs):
            rows = [_gradients([output], [x], [unit]) for unit in _units(output.shape)]
            numeric = np.array([column[number].ravel() / eps for column in columns]).T
            shape = output.shape + x.shape
            where = f"of output {number} with respect to input {position}"
            _compare(where, np.reshape(rows, shape), numeric.reshape(shape), atol, rtol)
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
    outputs = [y for y in _outputs("gradgradcheck", fn(*arguments)) if y.requires_grad]
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
        results = [y for y in _outputs("gradgradcheck", fn(*values)) if y.requires_grad]
        wanted = [values[i] for i in positions]
        found = grad(results, wanted, seeds, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

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
    random = _random(seed)
    if not x.numpy().any():  # where both sides are 0, whatever the map
        x = tensor(random.standard_normal(x.shape), requires_grad=True)
    (y,) = _outputs("adjointcheck", fn(x))
    constant = fn(Tensor(x.data * 0)).numpy()
    g = random.standard_normal(y.shape)
    (gx,) = _gradients([y], [x], [g])
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
    if not any(arguments[i].size for i in positions):
        raise ValueError(f"{op}: no input requires a gradient, or they have no elements")
    if any(arguments[i].dtype != np.float64 for i in positions):
        raise TypeError(f"{op}: inputs must be float64, since float32 rounds too coarsely")
    return arguments, positions


def _outputs(op: str, result: Any) -> list[Tensor]:
    """The floating outputs; indices and masks have no derivative."""
    results = result if isinstance(result, tuple | list) else (result,)
    tensors = [as_tensor(y) for y in results if y is not None]
    outputs = [y for y in tensors if y.dtype.kind == "f"]
    if not any(y.requires_grad and y.size for y in outputs):
        raise GradientError(f"{op}: nothing to check: no output has elements and a gradient")
    return outputs


def _gradients(outputs: list[Tensor], inputs: list[Tensor], weights: list[Any]) -> list[Any]:
    """Those of Σ ⟨output, weight⟩ with respect to the inputs, as NumPy arrays."""
    pairs = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    seeds = [Tensor(backend.active().as_array(w)) for _, w in pairs]
    found = grad([y for y, _ in pairs], inputs, seeds, retain_graph=True, allow_unused=True)
    zeros = [np.zeros(x.shape) for x in inputs]
    return [z if g is None else g.numpy() for g, z in zip(found, zeros, strict=True)]


def _random(seed: int) -> np.random.Generator:
    # Not default_rng(seed): the input may have been drawn from that, and where x equals g the two
    # sides of an identity can agree by symmetry.
    return np.random.default_rng((seed, 1411, 4038))


def _units(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The arrays that are 1 at one place and 0 elsewhere, one after the other."""
    size = math.prod(shape)
    return np.eye(size).reshape(size, *shape)


def _dot(left: list[Any], right: list[Any]) -> Any:
    return np.sum([np.vdot(a, b) for a, b in zip(left, right, strict=True)])


def _difference(
    fn: Callable[..., Any], arguments: list[Any], moved: list[Tensor], steps: list[Any]
) -> list[Any]:
    """(f(x + step) − f(x − step)) / 2 for every output; the arguments ``moved`` take the steps."""
    originals = [x.data for x in moved]
    values = []
    try:
        for sign in (1.0, -1.0):
            for x, original, step in zip(moved, originals, steps, strict=True):
                x.data = original + backend.active().as_array(sign * step)
            values.append([y.numpy().copy() for y in _outputs("gradcheck", fn(*arguments))])
    finally:
        for x, original in zip(moved, originals, strict=True):
            x.data = original
    return [(above - below) / 2 for above, below in zip(*values, strict=True)]


def _compare(where: str, analytic: Any, numeric: Any, atol: float, rtol: float) -> None:
    excess = np.abs(analytic - numeric) - (atol + rtol * np.abs(numeric))
    if not np.all(excess <= 0):  # so written that NaN fails
        worst = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape)
        raise GradientError(
            f"the derivative {where} is wrong: at {tuple(int(i) for i in worst)} backward gives "
            f"{analytic[worst]:.9g}, the difference quotient {numeric[worst]:.9g}"
        )
