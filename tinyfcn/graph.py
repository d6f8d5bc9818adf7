"""The walk from results back to leaves, behind ``Tensor.backward()`` and ``grad()``.

The nodes of the graph are the ops (``Function`` instances); each knows where the gradients of its
inputs go (``edges``). The walk takes three steps, all iterative, so that a chain of any length
works: list the nodes so that every op comes before those it depends on; mark the ops on a way to
something wanted; call each op's ``backward`` once, when all gradients of its outputs are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinyfcn import backend
from tinyfcn.function import Edge, Elementwise, Function, Target, active, as_tensor, target
from tinyfcn.tensor import Tensor, set_grad_enabled


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of the sum of ``outputs`` with respect to ``inputs``; no ``.grad`` is touched.

    Args:
        outputs: one tensor or several.
        inputs: one tensor or several; leaves or results of ops.
        grad_outputs: for each output, the gradient that arrives there; may be None for outputs of
            one element (it is 1 there).
        create_graph: make the results differentiable.
        retain_graph: keep saved buffers; by default the same as ``create_graph``.
        allow_unused: give None for an input that no output depends on, instead of an error.

    Returns:
        A tuple with one Tensor for each input, of its shape and dtype (or None, where that is
        allowed; a type checker is not told, for it would ask everybody to rule it out).

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor(3.0, requires_grad=True)
        >>> (slope,) = tinyfcn.grad(x ** 3, x, create_graph=True)
        >>> (curvature,) = tinyfcn.grad(slope, x)
        >>> slope.item(), curvature.item()
        (27.0, 18.0)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or not isinstance(grad_outputs, list | tuple):
        grad_outputs = [grad_outputs] * len(outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs, but {len(grad_outputs)} grad_outputs")
    for position, x in enumerate(inputs):
        if not x.requires_grad:
            raise ValueError(f"grad: inputs[{position}] does not require a gradient")
    wanted = [target(x) for x in inputs]
    found = walk(outputs, grad_outputs, set(wanted), retain_graph, create_graph)
    results: tuple[Any, ...] = tuple(found.get(end) for end in wanted)
    unused = [position for position, g in enumerate(results) if g is None]
    if unused and not allow_unused:
        raise RuntimeError(
            f"grad: inputs[{unused[0]}] does not take part in the outputs; "
            "pass allow_unused=True to get None for it"
        )
    return results


class Cast(Elementwise):
    """The same values in another dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x):
        with np.errstate(over="ignore"):
            return x.astype(self.dtype, copy=False)

    def backward(self, gy):
        return gy  # the walk casts it back


def walk(
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
    wanted: set[Target] | None,
    retain_graph: bool | None,
    create_graph: bool,
) -> dict[Target, Tensor]:
    """Gradients of the ``wanted`` targets, by default of all leaves, where there are any."""
    retain_graph = create_graph if retain_graph is None else retain_graph
    sums: dict[Target, Tensor] = {}
    later: dict[Target, Callable[[], Tensor]] = {}  # see Function.gradient
    with set_grad_enabled(create_graph):
        for output, gradient in zip(outputs, gradients, strict=True):
            _add(sums, target(output), _seed(output, gradient))
        order = _consumers_first([t.grad_fn for t in outputs if t.grad_fn is not None])
        if wanted is None:
            ends = [*sums, *(edge for node in order for edge in node.edges)]
            wanted = {end for end in ends if isinstance(end, Tensor)}
        leads = _leads_to(order, wanted)

        for node in order:
            made = [(node, i) for i in range(len(node.outputs))]
            # What nobody asked for is let go as soon as it is used.
            grads = [sums.get(t) if t in wanted else sums.pop(t, None) for t in made]
            if node not in leads or all(g is None for g in grads):
                continue
            node.needs_input_grad = tuple(_is_wanted(e, leads, wanted) for e in node.edges)
            for edge, g in zip(node.edges, _input_grads(node, grads), strict=True):
                if edge is None or g is None or not _is_wanted(edge, leads, wanted):
                    continue
                if edge in later:  # sums are made in the order of the ops
                    _add(sums, edge, later.pop(edge)())
                if callable(g) and edge not in sums:
                    later[edge] = partial(_fitting, node, edge, g)
                else:
                    _add(sums, edge, _fitting(node, edge, g))
            if not retain_graph:
                node.free()
        sums |= {end: g() for end, g in later.items()}

    results = {end: g for end, g in sums.items() if end in wanted}
    return results if create_graph else _own(results, gradients)


def _seed(output: Tensor, gradient: Any) -> Tensor:
    if not output.requires_grad:
        raise RuntimeError(
            "backward: this tensor was not computed from any that requires a gradient"
        )
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"backward: only a result with one element has gradient 1; shape {output.shape} "
                "needs a gradient of that shape"
            )
        return Tensor(backend.active().xp.ones(output.shape, output.dtype))
    gradient = as_tensor(gradient)
    if gradient.shape != output.shape:
        raise ValueError(
            f"backward: gradient has shape {gradient.shape}, the result has {output.shape}"
        )
    return cast(gradient, output.dtype)


def _consumers_first(roots: list[Function]) -> list[Function]:
    """All nodes behind ``roots``, each before the nodes that its inputs come from.

    A depth-first walk that lists a node after everything it depends on, reversed. The walk keeps
    its own stack: Python's would overflow at a chain of a thousand ops.
    """
    finished: dict[Function, None] = {}
    seen: set[Function] = set()
    stack = list(roots)
    while stack:
        node = stack[-1]
        if node in seen:  # and so is all that was above it on the stack
            finished[stack.pop()] = None
            continue
        seen.add(node)
        if node.freed:
            _ = node.saved_tensors  # raises the error that says why
        inputs = [edge[0] for edge in node.edges if isinstance(edge, tuple)]
        stack += [behind for behind in inputs if behind not in seen]
    return list(finished)[::-1]


def _leads_to(order: list[Function], wanted: set[Target]) -> set[Function]:
    """The nodes from which the walk can reach something wanted."""
    leads: set[Function] = set()
    for node in reversed(order):
        if any(_is_wanted(edge, leads, wanted) for edge in node.edges):
            leads.add(node)
    return leads


def _is_wanted(edge: Edge, leads: set[Function], wanted: set[Target]) -> bool:
    return edge in wanted or (isinstance(edge, tuple) and edge[0] in leads)


def _add(sums: dict[Target, Tensor], target: Target, g: Tensor) -> None:
    sums[target] = g if target not in sums else sums[target] + g


def cast(x: Tensor, dtype: Any) -> Tensor:
    """The same values in another dtype, as an op; x itself where it has it."""
    found: Tensor = x if x.dtype == dtype else Cast(dtype)(x)
    return found


def _input_grads(node: Function, grads: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    run: Any = node.backward
    for hook in active.hooks:
        run = partial(hook.backward, node, run)
    result = run(*grads)
    found = result if isinstance(result, tuple) else (result,)
    if len(found) != len(node.edges):
        raise RuntimeError(
            f"{type(node).__name__}.backward gave {len(found)} gradients for {len(node.edges)} "
            "inputs"
        )
    return found


def _fitting(node: Function, to: Target, g: Any) -> Tensor:
    """A gradient in the shape, which is checked, and in the dtype of the tensor that it is for."""
    g = g() if callable(g) else g
    shape, dtype = (to.shape, to.dtype) if isinstance(to, Tensor) else to[0].outputs[to[1]]
    if g.shape != shape:
        raise RuntimeError(
            f"{type(node).__name__}.backward gave a gradient of shape {g.shape} for an input of "
            f"shape {shape}"
        )
    return cast(g, dtype)


def _own(results: dict[Target, Tensor], gradients: Sequence[Any]) -> dict[Target, Tensor]:
    """Copy results that share memory with each other or with what the caller passed in.

    An op such as add hands the very same array to both of its inputs, and the gradient of sum is
    one element repeated; a caller who then scales one gradient in place must not change another.
    """
    taken = {id(_memory(g)) for g in gradients if g is not None}
    owned = {}
    for end, g in results.items():
        memory = _memory(g)
        repeated = any(s == 0 and n > 1 for s, n in zip(g.data.strides, g.shape, strict=True))
        if id(memory) in taken or repeated:
            g = Tensor(g.data.copy(order="K"))
        taken.add(id(memory))
        owned[end] = Tensor(g.data)
    return owned


def _memory(g: Any) -> Any:
    """The array that owns the memory of ``g``."""
    array = g.data if isinstance(g, Tensor) else g
    while getattr(array, "base", None) is not None:
        array = array.base
    return array
