"""A network on the backend "meta", to see what it does without computing it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.meta import empty
from tinyfcn.nn.module import Module
from tinyfcn.tensor import Tensor


@contextlib.contextmanager
def without_values(*modules: Module, using: str | backend.Backend = "meta") -> Iterator[None]:
    """Inside the block the active backend is "meta", on this thread, and the modules are in
    evaluation mode with parameters and buffers that have no values; then all is as before.

    Args:
        modules: no other thread may use them meanwhile.
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
    inside = [module for outer in modules for module in outer.modules()]
    modes = [(module, module.training) for module in inside]
    tensors = [t for outer in modules for t in (*outer.parameters(), *outer.buffers())]
    arrays = [(tensor, tensor.data) for tensor in tensors]
    for module in inside:
        module.training = False
    for tensor, data in arrays:
        tensor.data = empty(data.shape, data.dtype, ())
    try:
        with backend.using(using):
            yield
    finally:
        for tensor, data in reversed(arrays):
            tensor.data = data
        for module, training in reversed(modes):
            module.training = training


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
