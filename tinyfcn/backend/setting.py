"""What environment variables set: a choice between several ways to compute, or a number."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from tinyfcn.backend.errors import BackendError


class SettingError(BackendError, ValueError):
    """An environment variable does not hold what it may; the message says what that is."""


def whole_number(variable: str, default: int, most: int) -> int:
    """The number from 1 to ``most`` that an environment variable holds, else ``default``.

    Raises:
        SettingError: if it is set to anything else.

    Example:
        >>> whole_number("NUMBER_OF_LEGS", 8, most=100)
        8
    """
    text = os.environ.get(variable)
    if text is None:
        return default
    digits = text.strip()
    if not (
        digits.isascii() and digits.isdigit() and len(digits) < 19 and 1 <= int(digits) <= most
    ):
        raise SettingError(f"{variable} must be an integer from 1 to {most:,}, got {text[:40]!r}")
    return int(text)


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
            raise SettingError(f"{self.variable}: expected one of {known}, got {name[:40]!r}")
        return name

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Inside the ``with`` block, ``name`` is set, whatever the environment says.

        Raises:
            SettingError: if it is not one of the known names.

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


class Steady(threading.local):
    """Inside ``with steady:`` this thread's convolutions add up in float64, on the backend "numpy".

    Sums in float32 round by what else is computed with them, as by where in an image, and in how
    large a one, a pixel lies. These round once, at their end, so equal pixels stay equal.
    """

    depth = 0  # of with blocks

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


steady = Steady()
