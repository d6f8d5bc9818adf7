"""Function: one differentiable op, and one node of the graph.

An op is a class with two methods. ``forward`` computes on plain arrays and says what it will need
again; ``backward`` is written with ops on Tensors, so the gradient is itself differentiable and
second derivatives need no further code. Calling an instance on tensors runs ``forward`` and links
the result into the graph, so an instance serves one call.

    class Square(Function):
        def forward(self, x):
            self.save_for_backward(x)
            return x * x

        def backward(self, gy):
            (x,) = self.saved_tensors
            return gy * x * 2.0
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tinyfcn import backend
from tinyfcn.tensor import Array, Tensor, is_grad_enabled, no_grad

if TYPE_CHECKING:
    from tinyfcn.nn import Module

# Where a gradient goes: to output `index` of a node, or to a leaf tensor. The graph points to ops,
# not to the tensors between them, so an activation lives only as long as somebody needs its values.
Target = tuple["Function", int] | Tensor
Edge = Target | None


class Function:
    """Base class of the ops. Hyper-parameters go to ``__init__``, arrays to ``forward``.

    Attributes:
        needs_input_grad: for each input, whether anybody wants its gradient; ``backward`` may
            return None for the others.
        input_shapes: the shape of each input.
    """

    needs_input_grad: tuple[bool, ...] = ()
    edges: list[Edge]
    _to_save: tuple[Any, ...] = ()

    def forward(self, *inputs: Any) -> Any:
        """Compute the output array (or a tuple of them) from the input arrays."""
        raise AssertionError(f"{type(self).__name__} has no forward")

    def backward(self, *grad_outputs: Any) -> Any:
        """Gradients of the inputs (Tensors or None) from gradients of the outputs."""
        raise AssertionError(f"{type(self).__name__} has no backward")

    def __call__(self, *inputs: Any) -> Any:
        """Run the op on tensors. Arrays and numbers are constants; None is an absent input."""
        if hasattr(self, "edges"):
            raise RuntimeError(f"{type(self).__name__}: an instance is one node; make a new one")
        tensors = [None if x is None else as_tensor(x) for x in inputs]
        self.needs_input_grad = tuple([t is not None and t.requires_grad for t in tensors])
        record = is_grad_enabled() and True in self.needs_input_grad

        # Each input goes in as a view of its own, so that save_for_backward can tell by identity
        # which one it is given, even where two inputs share their memory.
        arrays = [None if t is None else t.data.view() for t in tensors]
        result = self.forward(*arrays)
        outputs = result if isinstance(result, tuple) else (result,)
        if record:
            self.input_shapes: list[Any] = [None if t is None else t.shape for t in tensors]
            self.edges = [target(t) if t is not None and t.requires_grad else None for t in tensors]
            self.outputs = [(array.shape, array.dtype) for array in outputs]
            self._saved: list[Any] | None = [
                _remember(kept, arrays, tensors, outputs) for kept in self._to_save
            ]
            made = tuple(self._output(array, index) for index, array in enumerate(outputs))
        else:
            made = tuple(map(Tensor, outputs))
        self._to_save = ()
        for hook in active.hooks:
            made = hook.op(self, inputs, made) or made
        return made if isinstance(result, tuple) else made[0]

    def gradient(self, index: int, op: Function, *inputs: Tensor) -> Any:
        """``op(*inputs)``, the gradient of input ``index``; or what gives it when called, if it is
        needed at the end of the walk only: then the next ops need not wait for it."""
        if not isinstance(self.edges[index], Tensor) or is_grad_enabled() or active.hooks:
            return op(*inputs)

        def run() -> Tensor:
            with no_grad():  # on whatever thread
                return op(*inputs)

        return backend.active().later(run)

    def save_for_backward(self, *arrays: Array | None) -> None:
        """Keep these arrays: inputs or outputs of this call, or small constants."""
        self._to_save = arrays

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What ``save_for_backward`` kept, as Tensors in their place in the graph."""
        if self._saved is None:
            raise RuntimeError(
                f"backward: the buffers of {type(self).__name__} were freed by an earlier "
                "backward(); call the first one with retain_graph=True to run it twice"
            )
        return tuple(self._recall(item) for item in self._saved)

    @property
    def freed(self) -> bool:
        """Whether a backward pass has let go of what this op saved."""
        return self._saved is None

    def free(self) -> None:
        """Let go of what was saved; the graph cannot be walked through here again."""
        self._saved = None
        self.edges = []

    def _recall(self, item: Any) -> Tensor | None:
        if not isinstance(item, _Output):
            return item
        # An output is kept as its array alone: keeping the Tensor would make a cycle with this
        # node, and the memory would wait for the garbage collector.
        return self._output(item.array, item.index)

    def _output(self, array: Array, index: int) -> Tensor:
        t = Tensor(array, requires_grad=array.dtype.kind == "f")
        t.grad_fn, t.output_nr = self, index
        return t


class Elementwise(Function):
    """Base class of the ops whose output at a place depends on the inputs at that place alone, as
    far as they broadcast. Whoever follows where values come from needs to know no more of them."""


SelfHook = TypeVar("SelfHook", bound="Hook")


class _Active(threading.local):
    hooks: tuple[Hook, ...] = ()


active = _Active()  # this thread's hooks that are on, the outermost first


class Hook:
    """Watches ops and modules: the one place to see what a forward (or backward) pass does.

    Inside ``with hook:`` its methods are called for everything that this thread runs; hooks may be
    nested. A subclass overrides what it wants to see. The name is that of Chainer's FunctionHook.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> class Shapes(tinyfcn.Hook):
        ...     def op(self, function, inputs, outputs):
        ...         print(type(function).__name__, *(y.shape for y in outputs))
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
        >>> images = tinyfcn.tensor([[[[0.0] * 6] * 8] * 3])
        >>> with Shapes():
        ...     scores = model(images)
        Conv2d (1, 8, 6, 4)
        MaxPool2d (1, 8, 3, 2)
    """

    def op(
        self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...] | None:
        """``function`` has run.

        Args:
            function: the op, which knows its hyper-parameters.
            inputs: as it was called with them: Tensors, arrays, numbers, None.
            outputs: what it gave.

        Returns:
            None, or tensors that take the place of ``outputs``.
        """
        return None

    def backward(self, function: Function, run: Callable[..., Any], *gradients: Any) -> Any:
        """The backward pass of ``function``: gives what ``run(*gradients)`` gives."""
        return run(*gradients)

    def enter(self, module: Module, inputs: Sequence[Any]) -> None:
        """``module`` is about to run."""

    def leave(self, module: Module, inputs: Sequence[Any], result: Any) -> None:
        """``module`` has run; not called if it raised an error."""

    def __enter__(self: SelfHook) -> SelfHook:
        active.hooks = (*active.hooks, self)
        return self

    def __exit__(self, *error: object) -> None:
        active.hooks = active.hooks[:-1]


class _Output:
    """An output of the node itself among its saved arrays."""

    def __init__(self, array: Array, index: int) -> None:
        self.array = array
        self.index = index


def _remember(array: Any, arrays: list[Any], tensors: list[Any], outputs: tuple[Any, ...]) -> Any:
    """Find which input or output ``array`` is; anything else is a constant."""
    if array is None:
        return None
    for candidate, t in zip(arrays, tensors, strict=True):
        if array is candidate:
            return t
    for index, output in enumerate(outputs):
        if array is output:
            return _Output(array, index)
    return Tensor(array)


def target(t: Tensor) -> Target:
    """Where a gradient of ``t`` goes."""
    return t if t.grad_fn is None else (t.grad_fn, t.output_nr)


def as_tensor(value: Any) -> Tensor:
    """``value`` itself if it is a Tensor, else a constant tensor over it.

    Example:
        >>> as_tensor(2.0).shape
        ()
    """
    return value if isinstance(value, Tensor) else Tensor(backend.active().as_array(value))
