"""Module: a part of a network that owns parameters, buffers and smaller modules.

There is no registry. What a module owns are its attributes: those that are a Parameter, a Buffer or
a Module count, in the order in which they were first set. That order is the order of
``parameters()`` and of the keys of ``state_dict()``, the same in every run.

    class Block(Module):
        def __init__(self, channels):
            self.conv = Conv2d(channels, channels, 3, padding=1)
            self.scale = Parameter(np.ones(1, np.float32))

        def forward(self, x):
            return F.relu(self.conv(x)) * self.scale

    Block(8).state_dict()        # keys: scale, conv.weight, conv.bias
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinyfcn import backend
from tinyfcn.function import active
from tinyfcn.tensor import Array, Tensor

__all__ = ["Buffer", "Module", "Parameter", "count_parameters"]

Self = TypeVar("Self", bound="Module")
Thing = TypeVar("Thing")


class Parameter(Tensor):
    """A tensor that a module owns and an optimizer changes.

    Args:
        data: the initial values; an array is kept, not copied.
        requires_grad: False freezes the parameter.
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Buffer(Tensor):
    """A tensor that a module owns and saves, but that no optimizer changes (a running mean)."""


class LoadResult(NamedTuple):
    """What ``load_state_dict`` did not find on either side; both empty after a strict load."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of layers and networks. A subclass sets its parts in ``__init__`` and defines
    ``forward``; calling the module calls ``forward``.

    Attributes:
        training: whether dropout drops and batch normalization uses the batch's own statistics;
            set by :meth:`train` and :meth:`eval`.

    Example:
        >>> from tinyfcn import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1, bias=False))
        >>> list(model.state_dict())
        ['0.weight', '0.bias', '2.weight']
        >>> model
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3))
          (1): ReLU()
          (2): Conv2d(8, 2, kernel_size=(1, 1), bias=False)
        )
    """

    training: bool = True

    def forward(self, *inputs: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        # A module that gives several tensors (MaxPool2d with return_indices) gives a tuple here.
        # To a type checker that is unpacked and indexed as a Tensor is, so each part is a Tensor.
        for hook in active.hooks:
            hook.enter(self, inputs)
        result: Tensor = self.forward(*inputs, **options)
        for hook in active.hooks:
            hook.leave(self, inputs, result)
        return result

    # ---- what it owns ----

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one."""
        return ((k, v) for k, v in list(vars(self).items()) if isinstance(v, Module))

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one, without their names."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (its name is ``prefix``) and all inside it, outer before inner, each once."""
        return _once(self._walk(prefix))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters under their full names, in a fixed order; a shared one comes once."""
        return _once(self.named_tensors(Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, frozen ones too (their ``requires_grad`` is False)."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """All buffers under their full names."""
        return _once(self.named_tensors(Buffer))

    def buffers(self) -> Iterator[Buffer]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers())

    def state_tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer under its full name; a shared one under each of its names."""
        return dict(self.named_tensors(Parameter, Buffer))

    def named_tensors(self, *kinds: type[Tensor]) -> Iterator[tuple[str, Any]]:
        """What is a tensor of one of the ``kinds``, under each of its names."""
        for prefix, module in self._walk(""):
            for kind in kinds:
                for name, value in list(vars(module).items()):
                    if isinstance(value, kind):
                        yield _join(prefix, name), value

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(_join(prefix, name))

    # ---- changing all of it ----

    def train(self: Self, mode: bool = True) -> Self:
        """Switch this module and all inside it to training (or, with False, to evaluation)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Switch this module and all inside it to evaluation."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def apply(self: Self, fn: Callable[[Module], object]) -> Self:
        """Call ``fn`` on every module, inner before outer, and return this one."""
        for module in reversed(list(self.modules())):
            fn(module)
        return self

    def astype(self: Self, dtype: Any) -> Self:
        """Convert the floating parameters and buffers in place; gradients are forgotten."""
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f":
                tensor.data = tensor.data.astype(dtype, order="K")
                tensor.grad = None
        return self

    def double(self: Self) -> Self:
        """Convert to float64, for numerical checks."""
        return self.astype(np.float64)

    def float(self: Self) -> Self:
        """Convert to float32."""
        return self.astype(np.float32)

    # ---- saving and loading ----

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, as NumPy arrays under their full names.

        The arrays stay as they are when training goes on, so they may be kept as "the best so far".
        """
        return {
            name: np.array(backend.to_numpy(tensor.data), order="K")
            for name, tensor in self.state_tensors().items()
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into the parameters and buffers of the same names.

        Values are converted to the dtype that is here and written into the memory that is here, so
        optimizers that hold the parameters see them. Either all fits and is loaded, or an error
        says everything that does not and nothing is changed.

        Args:
            state: names and arrays (or tensors), as :meth:`state_dict` gives them.
            strict: whether every name has to be found on both sides. A value of another shape is
                rejected in either case.

        Returns:
            (missing_keys, unexpected_keys): names only here, and names only in ``state``.

        Raises:
            ValueError: listing every missing, unexpected and mis-shaped key.
            TypeError: if a value is not an array of numbers.

        Example:
            >>> from tinyfcn import nn
            >>> layer = nn.Linear(4, 2)
            >>> layer.load_state_dict({"weight": np.zeros((3, 4)), "bais": np.zeros(2)})
            Traceback (most recent call last):
            ValueError: Linear: this state does not fit, and nothing was loaded
              missing: bias
              unexpected: bais
              another shape: weight is (2, 4) here, (3, 4) in the state
        """
        mine = self.state_tensors()
        given = {name: _as_array(name, value) for name, value in state.items()}
        missing = [name for name in mine if name not in given]
        unexpected = [name for name in given if name not in mine]
        problems = [
            f"another shape: {name} is {tensor.shape} here, {given[name].shape} in the state"
            for name, tensor in mine.items()
            if name in given and given[name].shape != tensor.shape
        ]
        if strict and unexpected:
            problems.insert(0, "unexpected: " + ", ".join(unexpected))
        if strict and missing:
            problems.insert(0, "missing: " + ", ".join(missing))
        if problems:
            lines = "\n  ".join(problems)
            raise ValueError(
                f"{type(self).__name__}: this state does not fit, and nothing was loaded\n  {lines}"
            )
        for name, tensor in mine.items():
            if name in given:
                tensor.data[...] = backend.active().as_array(given[name])
        return LoadResult(missing, unexpected)

    # ---- how it prints ----

    def extra_repr(self) -> str:
        """The settings that ``repr`` shows between the brackets, as one would write the call.

        They are the arguments of ``__init__`` that are attributes of the same name. Integers and
        switches at their default are left out.
        """
        shown: list[str] = []
        for name, argument in inspect.signature(type(self)).parameters.items():
            value, default = vars(self).get(name), argument.default
            if isinstance(default, bool) and name in vars(self):
                value = value is not None and value is not False  # bias=True makes a Parameter
            if not isinstance(value, int | float | str | tuple):
                continue  # not kept as it was given
            if isinstance(default, int) and value in (default, (default, default)):
                continue
            plain = isinstance(value, int) and default is argument.empty
            shown.append(f"{value}" if plain and "=" not in "".join(shown) else f"{name}={value!r}")
        return ", ".join(shown)

    def __repr__(self) -> str:
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in children]
        if self.extra_repr():
            lines.insert(0, self.extra_repr())
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def count_parameters(module: Module) -> int:
    """How many numbers training changes: the sizes of all parameters that are not frozen.

    Example:
        >>> from tinyfcn import nn
        >>> count_parameters(nn.Conv2d(3, 64, 3))
        1792
    """
    return sum(p.size for p in module.parameters() if p.requires_grad)


def _once(named: Iterable[tuple[str, Thing]]) -> Iterator[tuple[str, Thing]]:
    """Each thing under its first name alone."""
    seen = set()
    for name, thing in named:
        if id(thing) not in seen:
            seen.add(id(thing))
            yield name, thing


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _as_array(name: str, value: Any) -> Any:
    array = value.data if isinstance(value, Tensor) else value
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"load_state_dict: {name} must be an array of numbers, got a {type(value).__name__} "
            f"of dtype {array.dtype}"
        )
    return array
