"""A network that only runs to be looked at: in evaluation mode, also on the backend "meta", where
nothing is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.meta import empty
from tinyfcn.nn.module import Module
from tinyfcn.tensor import Tensor, no_grad


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """In this block a model runs as ``model.eval()``, without a graph; then all of its modules are
    in the modes they were in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def without_values(model: Module, using: str | backend.Backend = "meta") -> Iterator[None]:
    """Inside the block the active backend is "meta", on this thread, and the model is in evaluation
    mode with parameters and buffers that have no values; then all is as before.

    Args:
        model: no other thread may use it meanwhile.
        using: the backend "meta", or an instance of its class.

    Example:
        >>> import numpy as np, tinyfcn
        >>> from tinyfcn import nn
        >>> layer, x = nn.Conv2d(3, 8, 3), tinyfcn.tensor(np.zeros((1, 3, 6, 7), np.float32))
        >>> with without_values(layer):
        ...     y = layer(x)
        >>> y.shape, type(y.data).__name__
        ((1, 8, 4, 5), 'MetaArray')
    """
    arrays = [(t, t.data) for t in (*model.parameters(), *model.buffers())]
    for tensor, data in arrays:
        tensor.data = empty(data.shape, data.dtype, ())
    try:
        with evaluating(model), backend.using(using):
            yield
    finally:
        for tensor, data in arrays:
            tensor.data = data


def empty_images(model: Module, shape: tuple[int, ...]) -> Tensor:
    """Images (N, C, H, W) without values, of the dtype of the model's parameters."""
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return Tensor(empty(shape, dtype, ()))


def image_shape(op: str, input_size: Sequence[int]) -> tuple[int, ...]:
    """``input_size``, checked, as (N, C, H, W); N is 1 where it is left out."""
    size = tuple(input_size)
    if len(size) not in (3, 4) or not all(hasattr(n, "__index__") and n >= 1 for n in size):
        raise ValueError(
            f"{op}: input_size must be (C, H, W) or (N, C, H, W), each at least 1, got {size}"
        )
    return (1,) * (4 - len(size)) + size
