"""Optimizer: what SGD and Adam share. Parameter groups, the step, and the state to save.

A group is a dict with its parameters under ``"params"`` and its own options (``lr``,
``weight_decay``, …) beside them. An optimizer adds one method, ``_update``, which changes one
parameter in place and keeps what it must remember of it in a dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tinyfcn import backend
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
        ValueError: for no parameters, one given twice, or an unknown or negative option.
        TypeError: for a parameter that is no Tensor.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        given: list[Any] = list(params)
        groups = given if given and isinstance(given[0], Mapping) else [{"params": given}]
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        seen: set[Tensor] = set()
        for group in groups:
            options = {key: value for key, value in group.items() if key != "params"}
            unknown = options.keys() - defaults.keys() - {"initial_lr"}
            if unknown:
                raise ValueError(
                    f"{name}: unknown option {min(unknown)!r} in a parameter group, expected "
                    f"some of {', '.join(defaults)}"
                )
            chosen = group["params"]
            tensors = [chosen] if isinstance(chosen, Tensor) else list(chosen)
            for tensor in tensors:
                if not isinstance(tensor, Tensor):
                    raise TypeError(f"{name}: parameters must be Tensors, got {type(tensor)}")
                if tensor in seen:
                    raise ValueError(f"{name}: a parameter of shape {tensor.shape} comes twice")
                seen.add(tensor)
            self.param_groups.append({"params": tensors, **defaults, **options})
            self._check(self.param_groups[-1])
        if not seen:
            raise ValueError(f"{name}: got no parameters")

    def step(self) -> None:
        """Change every parameter that has a gradient, in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state.setdefault(parameter, {})
                    self._update(parameter.data, parameter.grad.data, state, group)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self._parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters themselves, as nested dicts of numbers and NumPy arrays.

        Parameters are numbered through all groups. On the CPU the arrays are the optimizer's own,
        not copies: save them before the next step.
        """
        numbers = {p: i for i, p in enumerate(self._parameters())}
        state = {
            numbers[p]: {k: v if _is_number(v) else backend.to_numpy(v) for k, v in kept.items()}
            for p, kept in self.state.items()
        }
        groups = [
            {**group, "params": [numbers[p] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state: the options of the groups, and what each parameter remembers.

        Raises:
            ValueError: if the groups or shapes differ from those of this optimizer, which then
                stays as it was.
        """
        name = type(self).__name__
        parameters = self._parameters()
        saved_groups = state_dict["param_groups"]
        saved_sizes = [len(group["params"]) for group in saved_groups]
        sizes = [len(group["params"]) for group in self.param_groups]
        if saved_sizes != sizes:
            raise ValueError(
                f"{name}.load_state_dict: the saved groups hold {saved_sizes} parameters, those of "
                f"this optimizer {sizes}"
            )
        state: dict[Tensor, dict[str, Any]] = {}
        for number, saved in state_dict["state"].items():
            parameter = parameters[int(number)]
            for key, value in saved.items():
                if not _is_number(value) and value.shape != parameter.shape:
                    raise ValueError(
                        f"{name}.load_state_dict: {key} of parameter {number} has shape "
                        f"{value.shape}, the parameter has {parameter.shape}"
                    )
            state[parameter] = {key: _like(parameter.data, value) for key, value in saved.items()}
        self.state = state
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            group.update({key: value for key, value in saved.items() if key != "params"})

    def _update(self, param: Array, grad: Array, state: dict[str, Any], group: Any) -> None:
        """One step for one parameter: write ``param`` and ``state``."""
        raise AssertionError(f"{type(self).__name__} has no _update")

    def _check(self, group: Mapping[str, Any]) -> None:
        """Reject impossible options; subclasses check their own besides."""
        for option, value in group.items():
            if _is_number(value) and not value >= 0:
                raise ValueError(
                    f"{type(self).__name__}: {option} must be at least 0, got {value!r}"
                )

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _like(param: Array, value: Any) -> Any:
    """A copy of a saved array that lies in memory as the parameter does; numbers as they are."""
    if _is_number(value):
        return value
    copy = backend.active().xp.empty_like(param)
    copy[...] = backend.active().as_array(value)
    return copy
