"""Context managers that are decorators too, of functions and of generators."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Decorating(contextlib.ContextDecorator):
    """Base class of context managers that can be entered again, also inside themselves.

    A generator is inside from each resumption to the next ``yield``, and its caller outside.
    """

    def __call__(self, function: F) -> F:
        """The same function, inside whenever it runs.

        Raises:
            TypeError: for a class, and for coroutines, whose steps may run inside anything.
        """
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if is_async or isinstance(function, type) or not callable(function):
            raise TypeError(f"only functions and generators can be decorated, got {function!r}")
        if not inspect.isgeneratorfunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        def generate(*args: Any, **options: Any) -> Any:
            return (yield from _Steps(self, function(*args, **options)))

        return cast(F, generate)


class _Steps(Generator[Any, Any, Any]):
    """A generator that is inside while it runs."""

    def __init__(self, context: Any, steps: Generator[Any, Any, Any]) -> None:
        self.context, self.steps = context, steps

    def send(self, value: Any) -> Any:
        with self.context:
            return self.steps.send(value)

    def throw(self, *error: Any) -> Any:
        with self.context:
            return self.steps.throw(*error)
