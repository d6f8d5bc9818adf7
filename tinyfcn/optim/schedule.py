"""Schedules: the learning rate as a function of the iteration.

A schedule multiplies the initial learning rate of every group by one factor, so that groups keep
their proportions. It takes one step after each step of the optimizer: iteration t runs with
``initial_lr · factor(t)``, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tinyfcn.functional.sizes import at_least_one, at_least_zero
from tinyfcn.optim.optimizer import Optimizer

__all__ = ["ConstantLR", "CosineLR", "LinearWarmup", "PolyLR", "Schedule", "StepLR"]


class Schedule:
    """Base class; a schedule defines ``factor``.

    Args:
        optimizer: the ``lr`` of its groups becomes their ``initial_lr``, unless they have one.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: got {type(optimizer)}, not an Optimizer")
        self.optimizer = optimizer
        self.iteration = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._apply()

    def factor(self, iteration: int) -> float:
        """By what to multiply the initial learning rates in this iteration."""
        raise AssertionError(f"{type(self).__name__} has no factor")

    def step(self) -> None:
        """Go to the next iteration."""
        self.iteration += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The iteration; initial learning rates are saved by the optimizer."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state; load that of the optimizer first.

        Raises:
            ValueError: if it is no such state; the schedule then stays as it was.
        """
        iteration = dict(state_dict).get("iteration")
        if len(state_dict) != 1 or type(iteration) is not int or iteration < 0:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected nothing but an iteration, an "
                f"integer of at least 0, got {', '.join(state_dict)} ({iteration!r})"
            )
        self.iteration = iteration
        self._apply()

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.factor(self.iteration)


class ConstantLR(Schedule):
    """The initial learning rate throughout, as in the FCN papers."""

    def factor(self, iteration: int) -> float:
        """1."""
        return 1.0


class StepLR(Schedule):
    """Multiply by ``gamma`` after every ``step_size`` iterations.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn.optim import SGD
        >>> schedule = StepLR(SGD([tinyfcn.tensor([1.0])], lr=0.1), step_size=10, gamma=0.5)
        >>> [schedule.factor(t) for t in (0, 9, 10, 20)]
        [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        at_least_one("StepLR", step_size=step_size)
        at_least_zero("StepLR", gamma=gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, iteration: int) -> float:
        """gamma^⌊t / step_size⌋."""
        return self.gamma ** (iteration // self.step_size)


class PolyLR(Schedule):
    """Fall to 0 within ``total`` iterations as (1 − t / total)^power.

    Source: Chen et al., "DeepLab", PAMI 2017, section 4.1.2; the policy is Caffe's ``poly``.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn.optim import SGD
        >>> schedule = PolyLR(SGD([tinyfcn.tensor([1.0])], lr=0.1), total=100, power=1.0)
        >>> [schedule.factor(t) for t in (0, 50, 100)]
        [1.0, 0.5, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total: int, power: float = 0.9) -> None:
        at_least_one("PolyLR", total=total)
        at_least_zero("PolyLR", power=power)
        self.total, self.power = total, power
        super().__init__(optimizer)

    def factor(self, iteration: int) -> float:
        """(1 − t / total)^power, and 0 from there on."""
        return max(0.0, 1 - iteration / self.total) ** self.power


class CosineLR(Schedule):
    """Fall to 0 within ``total`` iterations along half a cosine.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR
    2017, without restarts.
    """

    def __init__(self, optimizer: Optimizer, total: int) -> None:
        at_least_one("CosineLR", total=total)
        self.total = total
        super().__init__(optimizer)

    def factor(self, iteration: int) -> float:
        """(1 + cos(π t / total)) / 2, and 0 from there on."""
        return (1 + math.cos(math.pi * min(1.0, iteration / self.total))) / 2


class LinearWarmup(Schedule):
    """Rise linearly through the first ``iterations`` of another schedule, to its full height.

    The first steps come while weights are random and averages are empty; a small rate then keeps
    them from doing damage. Step the warm-up, not the schedule inside.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn.optim import SGD
        >>> optimizer = SGD([tinyfcn.tensor([1.0])], lr=1.0)
        >>> schedule = LinearWarmup(ConstantLR(optimizer), iterations=4)
        >>> [schedule.factor(t) for t in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, schedule: Schedule, iterations: int) -> None:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"LinearWarmup: got {type(schedule)}, not a Schedule")
        self.schedule = schedule
        at_least_one("LinearWarmup", iterations=iterations)
        self.iterations = iterations
        super().__init__(schedule.optimizer)

    def factor(self, iteration: int) -> float:
        """min(1, (t + 1) / iterations) times the factor of the schedule."""
        return min(1.0, (iteration + 1) / self.iterations) * self.schedule.factor(iteration)
