"""A choice between several ways to compute, made by the environment or by a ``with`` block."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


class Setting:
    """Called, it gives the name that is set: the first of ``names`` unless another is chosen.

    Args:
        variable: the environment variable that chooses one.
        names: the known ones, the default first.
    """

    def __init__(self, variable: str, names: tuple[str, ...]) -> None:
        self.variable = variable
        self.names = names
        self._chosen: str | None = None

    def __call__(self) -> str:
        name = self._chosen or os.environ.get(self.variable) or self.names[0]
        if name not in self.names:
            known = ", ".join(self.names)
            raise ValueError(f"{self.variable}: expected one of {known}, got {name!r}")
        return name

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Inside the ``with`` block, ``name`` is set, whatever the environment says.

        Raises:
            ValueError: if it is not one of the known names.

        Example:
            >>> setting = Setting("COLOUR", ("red", "blue"))
            >>> with setting.using("blue"):
            ...     setting()
            'blue'
        """
        former, self._chosen = self._chosen, name
        try:
            self()  # rejects a name that is not known
            yield
        finally:
            self._chosen = former
