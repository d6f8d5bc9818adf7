"""Gradients that are too long are made shorter."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tinyfcn import Tensor, backend


def clip_gradients(parameters: Iterable[Tensor], most: float) -> float:
    """Where the norm of all gradients together is above ``most``, multiply each by most / norm.

    One batch that is unlike the others then cannot throw the weights far away.

    Returns:
        The norm from before: √Σ g² over all numbers of all gradients.

    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, section 3.2.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([3.0, 4.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> clip_gradients([x], 5.0), x.grad
        (10.0, Tensor([3., 4.], dtype=float32))
    """
    xp = backend.active().xp
    given = [(p, p.grad.data) for p in parameters if p.grad is not None]
    flat = (g.ravel("K") for _, g in given)
    norm = math.sqrt(sum(xp.einsum("i,i->", g, g, dtype=xp.float64) for g in flat))
    if norm > most:
        for p, g in given:  # not in place: two parameters may have one gradient
            p.grad = Tensor(g * g.dtype.type(most / norm))
    return norm
