"""The rules by which ops become ONNX's operators; ``operators.py`` and ``resampling.py`` add them.

A rule is told the graph, the op and the values that go in, adds nodes, and gives the name of what
comes out. Operators are those of opset 18 (https://onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyfcn.function import Function

OPSET = 18

Rule = Callable[..., Any]
RULES: dict[type[Function], Rule] = {}


class CannotExport(ValueError):
    """ONNX has no operators for something, or not for images of every size."""


def rule(*kinds: type[Function]) -> Callable[[Rule], Rule]:
    """Make the function below the rule for these ops."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def check_rounding_up(
    op: str, ceil_mode: bool, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> None:
    """Reject a pooling whose last window might start behind the image: we leave such a window out,
    as PyTorch does, ONNX does not."""
    if ceil_mode and any(k < s + p for k, s, p in zip(kernel, stride, padding, strict=True)):
        raise CannotExport(
            f"onnx: {op} with ceil_mode needs a kernel_size of at least stride + padding, got "
            f"kernel_size {tuple(kernel)}, stride {tuple(stride)}, padding {tuple(padding)}"
        )
