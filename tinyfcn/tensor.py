"""Tensor: an array, the op that made it, and its gradient.

Then read ``function.py`` (what an op is) and ``graph.py`` (how ``backward`` walks to the leaves).
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

import tinyfcn
from tinyfcn import backend
from tinyfcn.decorating import Decorating, F

if TYPE_CHECKING:
    from tinyfcn.function import Function

Array = NDArray[Any]


class _Modes(threading.local):
    stack: tuple[bool, ...] = (True,)  # outside of all blocks, and of each that the thread is in


_modes = _Modes()


def is_grad_enabled() -> bool:
    """Whether ops record the graph on this thread (they do, unless inside ``no_grad``)."""
    return _modes.stack[-1]


class set_grad_enabled(Decorating):
    """Record the graph inside the ``with`` block, or do not."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        _modes.stack += (self.enabled,)

    def __exit__(self, *error: object) -> None:
        _modes.stack = _modes.stack[:-1] or (True,)  # a generator may end in another thread


@overload
def no_grad(function: None = None) -> set_grad_enabled:
    """The context manager."""


@overload
def no_grad(function: F) -> F:
    """The function, decorated."""


def no_grad(function: Any = None) -> Any:
    """Inside ``with no_grad():`` ops compute and keep nothing for a backward pass.

    Works as a decorator of functions and generators too, with parentheses or without.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([1.0, 2.0], requires_grad=True)
        >>> with tinyfcn.no_grad():
        ...     y = x * 3
        >>> y.requires_grad
        False
    """
    mode = set_grad_enabled(False)
    return mode if function is None else mode(function)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a leaf tensor from a copy of ``data``.

    Args:
        data: a number, nested lists of numbers, or an array.
        dtype: NumPy dtype; by default the array's own, float32 for Python floats, int64 for ints.
        requires_grad: whether ``backward`` shall compute ``.grad`` for it; floating dtypes only.

    Example:
        >>> import tinyfcn
        >>> tinyfcn.tensor([[1.0, 2.0], [3.0, 4.0]]).sum()
        Tensor(10., dtype=float32)
    """
    if isinstance(data, Tensor):
        data = data.data
    xp = backend.active().xp
    if dtype is None and not hasattr(data, "dtype"):
        dtype = np.asarray(data).dtype
        dtype = np.float32 if dtype == np.float64 else dtype
    return Tensor(xp.array(data, dtype=dtype, order="K"), requires_grad)


def _operator(name: str, swapped: bool = False) -> Callable[[Tensor, Any], Tensor]:
    """The method that is the op of this name, which itself is made of Tensors: so found late."""

    def method(self: Tensor, other: Any) -> Tensor:
        op: Callable[[Any, Any], Tensor] = getattr(tinyfcn.functional, name)
        return op(other, self) if swapped else op(self, other)

    return method


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Tensor]:
    """The method that compares element by element."""

    def method(self: Tensor, other: Any) -> Tensor:
        return Tensor(compare(self.data, other.data if isinstance(other, Tensor) else other))

    return method


class Tensor:
    """An N-dimensional array that knows how it was computed.

    Args:
        data: the array of the active backend (NumPy or CuPy); it is kept, not copied. Other data
            is converted by :func:`tensor`, the usual way to make one.
        requires_grad: whether this is a leaf that wants a gradient.

    Attributes:
        data: the array. Writing into it in place between forward and backward changes what
            backward computes with; optimizers write between steps, where that is safe.
        grad: after ``backward``, a Tensor of the same shape and dtype, or None.
        requires_grad: True for leaves that were asked to, and for all that was computed from them.
        grad_fn, output_nr: the op that made this, and which of its outputs it is; None for a leaf.

    Operators and methods broadcast like NumPy's; ``tinyfcn.functional`` documents them.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4., 6.], dtype=float32)
    """

    __array_ufunc__ = None  # so that `array * tensor` asks the tensor

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            data = data.data
        elif not hasattr(data, "dtype") or isinstance(data, np.generic):
            data = backend.active().as_array(data)
        if data.dtype.kind not in "biuf":
            raise TypeError(f"a Tensor holds numbers, got dtype {data.dtype}")
        self.data: Array = data
        self.grad: Tensor | None = None
        self.grad_fn: Function | None = None
        self.output_nr = 0
        self.requires_grad_(requires_grad)

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of, and iteration over, a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({text}, dtype={self.dtype}{grad})"

    def __format__(self, spec: str) -> str:  # without axes it is a number, as in PyTorch
        return format(self.item(), spec) if self.ndim == 0 else super().__format__(spec)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        # What np.asarray and matplotlib ask for; without it they would see a list of tensors.
        return np.array(self.numpy(), dtype, copy=copy)

    def numpy(self) -> Array:
        """The values as a NumPy array; shares memory with ``data`` on the CPU."""
        return backend.to_numpy(self.data)

    def item(self) -> float:
        """The only element, as a Python number (an int or a bool where the dtype is one)."""
        if self.size != 1:
            raise ValueError(f"item: only a tensor with one element has one, shape is {self.shape}")
        number: float = self.data.item()
        return number

    # ---- the graph ----

    def detach(self) -> Tensor:
        """A tensor over the same memory that the graph does not reach."""
        return Tensor(self.data)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` of a leaf in place and return it."""
        if self.grad_fn is not None:
            raise ValueError("requires_grad_: only leaves can be changed; use detach() first")
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"requires_grad needs a floating dtype, got {self.dtype}")
        self.requires_grad = requires_grad
        return self

    def backward(
        self,
        gradient: Tensor | Array | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add d(self)/d(leaf) to ``leaf.grad`` for every leaf that requires a gradient.

        Args:
            gradient: d(loss)/d(self), of this shape; by default 1, if there is one element.
            retain_graph: keep what the ops saved, so that backward can run again; by default the
                same as ``create_graph``.
            create_graph: record the backward pass itself, so that gradients can be differentiated.

        Raises:
            RuntimeError: if nothing here requires a gradient, or the graph was freed already.
        """
        from tinyfcn import graph  # which is made of Tensors

        found = graph.walk([self], [gradient], None, retain_graph, create_graph)
        with set_grad_enabled(create_graph):
            for leaf, g in found.items():
                if isinstance(leaf, Tensor):
                    leaf.grad = g if leaf.grad is None else leaf.grad + g

    # ---- operators: each is the op of this name in functional/ ----

    __add__ = __radd__ = _operator("add")
    __mul__ = __rmul__ = _operator("mul")
    __sub__, __rsub__ = _operator("sub"), _operator("sub", swapped=True)
    __truediv__, __rtruediv__ = _operator("div"), _operator("div", swapped=True)
    __pow__, __rpow__ = _operator("pow"), _operator("pow", swapped=True)
    __matmul__, __rmatmul__ = _operator("matmul"), _operator("matmul", swapped=True)

    def __neg__(self) -> Tensor:
        return tinyfcn.functional.neg(self)

    def __getitem__(self, index: Any) -> Tensor:
        return tinyfcn.functional.getitem(self, index)

    # Comparisons give boolean tensors, which never require a gradient. As a key, in a set or a
    # dict, a tensor is itself and not its values.

    __hash__ = object.__hash__

    __eq__ = _comparison(operator.eq)  # type: ignore[assignment]
    __ne__ = _comparison(operator.ne)  # type: ignore[assignment]
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)

    def exp(self) -> Tensor:
        """Element-wise exponential."""
        return tinyfcn.functional.exp(self)

    def log(self) -> Tensor:
        """Element-wise natural logarithm."""
        return tinyfcn.functional.log(self)

    def sqrt(self) -> Tensor:
        """Element-wise square root."""
        return tinyfcn.functional.sqrt(self)

    def tanh(self) -> Tensor:
        """Element-wise hyperbolic tangent."""
        return tinyfcn.functional.tanh(self)

    def abs(self) -> Tensor:
        """Element-wise absolute value."""
        return tinyfcn.functional.abs(self)

    __abs__ = abs

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """At least ``min`` and at most ``max``, element by element; one may be None."""
        return tinyfcn.functional.clamp(self, min, max)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of two, element by element."""
        return tinyfcn.functional.minimum(self, other)

    def maximum(self, other: Any) -> Tensor:
        """The larger of two, element by element."""
        return tinyfcn.functional.maximum(self, other)

    def where(self, condition: Any, other: Any) -> Tensor:
        """These elements where the condition holds, else those of ``other``."""
        return tinyfcn.functional.where(condition, self, other)

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Sum over the axes ``dim``, by default all."""
        return tinyfcn.functional.sum(self, dim, keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Mean over the axes ``dim``, by default all."""
        return tinyfcn.functional.mean(self, dim, keepdim)

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Maximum over the axes ``dim``; the gradient goes to the first maximum."""
        return tinyfcn.functional.amax(self, dim, keepdim)

    @overload
    def max(self, dim: None = None) -> Tensor: ...

    @overload
    def max(self, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]: ...

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The maximum of all elements, or as in PyTorch (values, indices) along one axis."""
        if dim is None:
            return tinyfcn.functional.amax(self)
        values = tinyfcn.functional.amax(self, dim, keepdim)
        indices = self.data.argmax(dim)
        return values, Tensor(indices.reshape(values.shape))

    def argmax(self, dim: int | None = None) -> Tensor:
        """Indices of the first maximum, as an int64 tensor without gradient."""
        return Tensor(self.data.argmax(dim))

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be −1."""
        return tinyfcn.functional.reshape(self, _sequence(shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Join the axes ``start_dim … end_dim`` into one."""
        return tinyfcn.functional.flatten(self, start_dim, end_dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Swap two axes."""
        return tinyfcn.functional.transpose(self, dim0, dim1)

    def permute(self, *dims: Any) -> Tensor:
        """Reorder the axes."""
        return tinyfcn.functional.permute(self, _sequence(dims))


Dims = int | Sequence[int] | None


def _sequence(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """Both ``reshape(2, 3)`` and ``reshape((2, 3))`` are in use."""
    if len(arguments) == 1 and not isinstance(arguments[0], int | np.integer):
        return tuple(arguments[0])
    return arguments
