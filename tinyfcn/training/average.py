"""The mean of a model's weights over its last steps."""

from __future__ import annotations

import copy

from tinyfcn.nn import Module


class Average:
    """A second model, whose weights follow those of one that learns, and jump about less.

    After each step mean ← d · mean + (1 − d) · weights, with d = min(decay, (1 + steps) / (10 +
    steps)), so that the random weights of the beginning are soon forgotten. Running means of batch
    norm are averaged alike; integers are copied.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
    smaller d at the beginning is TensorFlow's ExponentialMovingAverage.

    Args:
        model: the one that learns; its weights are the first mean.
        decay: about 1 / (1 − decay) steps are remembered.

    Attributes:
        model: the one with the means.

    Example:
        >>> from tinyfcn import nn
        >>> learning = nn.Conv2d(1, 1, 1, bias=False)
        >>> learning.weight.data[...] = 0.0
        >>> average = Average(learning, 0.5)
        >>> learning.weight.data[...] = 1.0
        >>> for step in range(1, 10):
        ...     average.update(learning, step)
        >>> average.model.weight.data.item() > 0.99
        True
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model), decay

    def update(self, model: Module, steps: int) -> None:
        """Take the weights after so many steps in."""
        keep = min(self.decay, (1 + steps) / (10 + steps))
        means, weights = ([*m.parameters(), *m.buffers()] for m in (self.model, model))
        for mean, now in zip(means, weights, strict=True):
            if mean.dtype.kind == "f":
                mean.data += (1 - keep) * (now.data - mean.data)
            else:
                mean.data[...] = now.data
