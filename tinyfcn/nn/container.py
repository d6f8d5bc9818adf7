"""Modules made of modules."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from tinyfcn.nn.activation import ReLU
from tinyfcn.nn.conv import Conv2d
from tinyfcn.nn.module import Module
from tinyfcn.nn.normalization import BatchNorm2d

__all__ = ["ModuleList", "Sequential"]


class _Ordered(Module):
    """Children that are counted, iterated and indexed; their names are "0", "1", … or given."""

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Module:
        """One child, or for a slice a :class:`Sequential` of several (shared, not copied)."""
        named = list(self.named_children())
        if isinstance(index, slice):
            return Sequential(dict(named[index]))
        if not -len(named) <= index < len(named):
            raise IndexError(f"{type(self).__name__} has {len(named)} modules, no index {index}")
        return named[index][1]

    def _set(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            kind = type(module).__name__
            raise TypeError(f"{type(self).__name__}: {name} must be a Module, got {kind}")
        if hasattr(self, name) or "." in name:
            raise ValueError(f"{type(self).__name__}: {name!r} cannot be the name of a module")
        setattr(self, name, module)

    def append(self, module: Module) -> None:
        """Add a module at the end, named by its number."""
        self._set(str(len(self)), module)


class Sequential(_Ordered):
    """Modules applied one after the other, the output of each to the next.

    Args:
        modules: the modules, named "0", "1", …; or one mapping of names to modules.

    Example:
        >>> from tinyfcn import nn
        >>> nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())[0]
        Conv2d(3, 8, kernel_size=(3, 3))
        >>> list(nn.Sequential({"fc": nn.Linear(4, 2)}).state_dict())
        ['fc.weight', 'fc.bias']
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}  # type: ignore[misc]
        for name, module in named.items():
            self._set(name, module)

    def forward(self, x: Any) -> Any:
        """Apply all in order; a convolution or batch norm and the ReLU behind it in one step."""
        modules = deque(self.children())
        while modules:
            module = modules.popleft()
            fuses = type(module).forward in (Conv2d.forward, BatchNorm2d.forward)
            if fuses and modules and type(modules[0]) is ReLU:
                modules.popleft()
                x = module(x, relu=True)
            else:
                x = module(x)
        return x


class ModuleList(_Ordered):
    """A list of modules whose parameters are found; it has no ``forward`` of its own.

    Example:
        >>> from tinyfcn import nn
        >>> heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 3)])
        >>> [head.out_features for head in heads]
        [2, 3]
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)
