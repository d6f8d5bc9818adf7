"""Second derivatives of fused ops, through the plain formula.

A fused op (batch norm, cross-entropy) has one primitive for its value and one for its gradient,
both written for speed. The gradient of its gradient is needed rarely, so it is not written by hand:
the op is written once more as a formula of elementary ops, and the graph differentiates that twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyfcn.graph import Cast, grad
from tinyfcn.tensor import Tensor, is_grad_enabled, set_grad_enabled


def differentiate(
    formula: Callable[..., tuple[Tensor, Sequence[Tensor]]],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    grad_outputs: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """The backward pass of an op that gives the gradients of ``formula``: one for each input.

    Args:
        formula: gives y, written with ops, and the tensors whose gradients the op gives.
        inputs: of the op: the gradient that arrives at y, then the arguments of the formula; None
            is handed through.
        needed: for each input, whether its gradient is asked for (``needs_input_grad``).
        grad_outputs: the gradient that arrives at each output of the op, None for nothing.
    """
    create_graph = is_grad_enabled()
    with set_grad_enabled(True):
        # The inputs may depend on each other outside the formula (gy on x, mostly). As aliases they
        # do not, so that the gradients are partial ones, and yet stay linked to the graph: a cast
        # to the same dtype is a node of its own.
        own = [
            t if t is None
            else Cast(t.dtype)(t) if create_graph and t.requires_grad
            else Tensor(t.data, t.dtype.kind == "f")
            for t in inputs
        ]  # fmt: skip
        y, by = formula(*own[1:])
        first = grad(y, by, own[0], create_graph=True)
    pairs = [(t, g) for t, g in zip(first, grad_outputs, strict=True) if g is not None]
    outputs, seeds = zip(*pairs, strict=True)
    wanted: list[Any] = [t for t, is_needed in zip(own, needed, strict=True) if is_needed]
    found = iter(grad(outputs, wanted, seeds, create_graph=create_graph, allow_unused=True))
    return tuple(next(found) if is_needed else None for is_needed in needed)
