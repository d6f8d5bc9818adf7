"""Optimizer: what SGD and Adam share. Parameter groups, the step, and the state to save.

A group is a dict with its parameters under ``"params"`` and its own options (``lr``,
``weight_decay``, …) beside them. An optimizer adds two methods: ``_start`` gives a dict of what is
remembered of a parameter, as it is before the first step; ``_update`` gives what the primitive
``_primitive`` of the backend shall change a parameter with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from tinyfcn import backend
from tinyfcn.functional.sizes import at_least_one, at_least_zero
from tinyfcn.tensor import Array, Tensor

__all__ = ["Optimizer"]

# Tensors, or groups of them with options of their own.
Params = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class Optimizer:
    """Base class of the optimizers.

    Args:
        params: tensors, or groups: dicts with ``"params"`` and options that differ from the
            defaults.
        defaults: the options of this optimizer and their values.

    Attributes:
        param_groups: a list of dicts, each with all options; schedules write ``group["lr"]``.
        state: for each parameter that took a step, a dict of arrays and numbers.

    Raises:
        ValueError: for no parameters, one given twice or computed by ops, or an unknown or
            impossible option.
        TypeError: for a parameter that is no floating Tensor, or parameters without a fixed order.
    """

    _primitive: str

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        given = _listed(f"{name}: params", params)
        in_groups = bool(given) and isinstance(given[0], Mapping)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        seen: set[Tensor] = set()
        for i, group in enumerate(given if in_groups else [{"params": given}]):
            what = f"{name}: params[{i}]['params']" if in_groups else f"{name}: params"
            if not isinstance(group, Mapping) or "params" not in group:
                raise TypeError(f"{name}: params[{i}] must be a dict with 'params', got {group!r}")
            unknown = group.keys() - defaults.keys() - {"params", "initial_lr"}
            if unknown:
                raise ValueError(
                    f"{name}: unknown option {min(unknown)!r} in a parameter group, expected "
                    f"some of {', '.join(defaults)}"
                )
            chosen = group["params"]
            tensors = [chosen] if isinstance(chosen, Tensor) else _listed(what, chosen)
            for k, tensor in enumerate(tensors):
                if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
                    raise TypeError(f"{what}[{k}] must be a floating Tensor, got {tensor!r:.60}")
                if tensor.grad_fn is not None or tensor in seen:
                    reason = "comes twice" if tensor in seen else "was computed, it is no leaf"
                    raise ValueError(f"{what}[{k}], of shape {tensor.shape}, {reason}")
                seen.add(tensor)
            self.param_groups.append({**defaults, **group, "params": tensors})
            self._check(self.param_groups[-1])
        if not seen:
            raise ValueError(f"{name}: got no parameters")

    def step(self) -> None:
        """Change every parameter that has a gradient, in place."""
        alike: dict[Any, list[Any]] = {}  # what takes the same numbers goes to the backend at once
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state.setdefault(parameter, {})
                    kept, numbers = self._update(parameter.data, state, group)
                    arrays = parameter.data, parameter.grad.data, *kept
                    alike.setdefault((parameter.dtype, numbers), []).append(arrays)
        change = getattr(backend.active(), self._primitive)
        for (_, numbers), arrays_of in alike.items():
            change(*zip(*arrays_of, strict=True), *numbers)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self._parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters themselves, as nested dicts of numbers and NumPy arrays.

        Parameters are numbered through all groups. On the CPU the arrays are the optimizer's own,
        not copies: save them before the next step.
        """
        order = {p: i for i, p in enumerate(self._parameters())}
        state = {
            order[p]: {k: v if isinstance(v, int) else backend.to_numpy(v) for k, v in own.items()}
            for p, own in self.state.items()
        }
        groups = [{**g, "params": [order[p] for p in g["params"]]} for g in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state: the options of the groups, and what each parameter remembers.

        Raises:
            ValueError: if the groups, options or shapes are not those of this optimizer, or values
                are impossible; the optimizer then stays as it was.
        """
        parameters = {str(i): parameter for i, parameter in enumerate(self._parameters())}
        state: dict[Tensor, dict[str, Any]] = {}
        try:
            groups = [dict(group) for group in state_dict["param_groups"]]
            expected, found = _kinds(self.param_groups), _kinds(groups)
            if found != expected:
                raise ValueError(f"parameters and options of groups are {found}, not {expected}")
            for group in groups:
                self._check(group)
            for number, kept in state_dict["state"].items():
                parameter = parameters[str(number)]
                start = self._start(parameter.data) if kept else {}
                state[parameter] = _restored(f"of parameter {number}", start, kept)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = error if type(error) is ValueError else repr(error)
            raise ValueError(f"{type(self).__name__}.load_state_dict: {said}") from error
        self.state = state
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({**saved, "params": group["params"]})

    def _start(self, param: Array) -> dict[str, Any]:
        """What is remembered of a parameter, before the first step: counts, and arrays like it."""
        return {}

    def _update(self, param: Array, state: dict[str, Any], group: Any) -> tuple[Any, Any]:
        """Of one step for one parameter: the arrays of ``state`` that change with it, and the
        numbers of the primitive."""
        raise AssertionError(f"{type(self).__name__} has no _update")

    def _check(self, group: Mapping[str, Any]) -> None:
        """Reject options that are no numbers of at least 0; subclasses check others themselves."""
        at_least_zero(type(self).__name__, **{k: x for k, x in group.items() if k != "params"})

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


def _listed(what: str, given: Any) -> list[Any]:
    """What was given, if that has an order."""
    if not isinstance(given, Iterable) or isinstance(given, Tensor | Mapping | Set | str):
        raise TypeError(f"{what} must be a list of Tensors, got {type(given).__name__}")
    return list(given)


def _kinds(groups: Iterable[Mapping[str, Any]]) -> list[Any]:
    """How many parameters each group has, and which options."""
    return [(len(g["params"]), *sorted(g.keys() - {"params", "initial_lr"})) for g in groups]


def _restored(whose: str, start: dict[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """``start`` with the saved values; the arrays stay those that lie as the parameter does."""
    if saved.keys() != start.keys():
        raise ValueError(f"expected {', '.join(start)} {whose}, got {', '.join(saved)}")
    for key, value in saved.items():
        if isinstance(start[key], int):
            at_least_one(whose, **{key: value})
            start[key] = value
        elif (shape := np.shape(value)) != start[key].shape:
            raise ValueError(f"{key} {whose} has shape {shape}, it has {start[key].shape}")
        elif np.asarray(value).dtype.kind != "f" or not np.isfinite(value).all():
            raise ValueError(f"{key} {whose} must hold finite floating numbers")
        else:
            start[key][...] = backend.active().as_array(value)
    return start
