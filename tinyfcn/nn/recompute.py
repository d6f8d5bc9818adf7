"""Gradient checkpointing: less memory for one more forward pass.

A network keeps every layer's output for the backward pass. A part that is *recomputed* keeps its
input alone; when the gradient arrives, the part runs forward once more, this time recording, and is
then walked back as usual. What has to be held at once falls from the whole network to its inputs at
the cuts and the inside of one part.

Source: Chen, Xu, Zhang, Guestrin: Training deep nets with sublinear memory cost (2016), section 4.
"""

from __future__ import annotations

from tinyfcn import random
from tinyfcn.function import Function
from tinyfcn.graph import grad
from tinyfcn.nn.module import Module
from tinyfcn.tensor import Tensor, is_grad_enabled, no_grad, set_grad_enabled

__all__ = ["recompute"]


class Recompute(Function):
    """module(x), keeping x alone. The parameters are inputs too, so that gradients reach them."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.random_state = random.get_state()  # so that dropout drops the same again

    def forward(self, x, *parameters):
        self.save_for_backward(x)
        with no_grad():
            return self.module(Tensor(x)).data

    def backward(self, gy):
        (x,) = self.saved_tensors
        buffers = [(buffer, buffer.data.copy()) for buffer in self.module.buffers()]
        now = random.get_state()
        random.set_state(self.random_state)
        create_graph = is_grad_enabled()
        with set_grad_enabled(True):
            x = x if create_graph else Tensor(x.data, self.needs_input_grad[0])
            y = self.module(x)
        random.set_state(now)
        for buffer, values in buffers:
            buffer.data[...] = values  # running statistics have seen this batch already
        inputs = zip([x, *self.module.parameters()], self.needs_input_grad, strict=True)
        wanted = [t for t, need in inputs if need]
        found = iter(grad(y, wanted, gy, create_graph=create_graph, allow_unused=True))
        return tuple(next(found) if need else None for need in self.needs_input_grad)


def recompute(module: Module, x: Tensor) -> Tensor:
    """``module(x)`` without keeping what is inside: it is computed again for the gradient.

    Results and gradients are the same bits as those of ``module(x)``. Dropout drops the same
    elements again, and running statistics are updated once.

    Args:
        module: takes one tensor and gives one.
        x: its input.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> layer, x = nn.Linear(3, 2), tinyfcn.tensor([[1.0, 2.0, 3.0]])
        >>> nn.recompute(layer, x).sum().backward()
        >>> layer.weight.grad
        Tensor([[1., 2., 3.],
                [1., 2., 3.]], dtype=float32)
    """
    if not is_grad_enabled():
        return module(x)  # nothing is kept anyway
    result: Tensor = Recompute(module)(x, *module.parameters())
    return result
