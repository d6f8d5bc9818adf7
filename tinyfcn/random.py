"""One source of randomness: initial weights and dropout draw from it, nothing else does.

Data loaders have a generator of their own, so that augmentation does not depend on the model.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

_generator = np.random.Generator(np.random.PCG64())


def manual_seed(seed: int) -> None:
    """Start the random numbers anew from ``seed``, so that a run can be repeated bit by bit.

    Example:
        >>> import tinyfcn
        >>> tinyfcn.manual_seed(1)
        >>> a = generator().standard_normal()
        >>> tinyfcn.manual_seed(1)
        >>> a == generator().standard_normal()
        True
    """
    if not hasattr(seed, "__index__") or seed < 0:
        raise ValueError(f"manual_seed: expected an integer of at least 0, got {seed!r}")
    global _generator
    _generator = np.random.Generator(np.random.PCG64(seed))


def generator() -> np.random.Generator:
    """The generator that initialisation and dropout draw from."""
    return _generator


def get_state() -> dict[str, Any]:
    """The state of the generator, as numbers and strings that JSON can hold."""
    return dict(_generator.bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Go on from a state that :func:`get_state` gave."""
    _generator.bit_generator.state = state


def _after_fork() -> None:
    """A generator of its own for the child: another thread may have locked this one for ever."""
    state = get_state()
    manual_seed(0)
    set_state(state)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
