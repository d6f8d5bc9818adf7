"""Where a training that diverged holds numbers that are not finite."""

from __future__ import annotations

from collections.abc import Callable

from tinyfcn import AnomalyError, Tensor, backend, detect_anomaly
from tinyfcn.nn import Module
from tinyfcn.optim import GradScaler

LEAST = 2.0**-14  # of a scale: beside smaller ones, a gradient of 1 loses digits in float16


def in_weights(model: Module) -> str | None:
    """The name of a weight that is not finite."""
    is_finite, tensors = backend.active().xp.isfinite, model.state_tensors()
    return next((name for name, x in tensors.items() if not is_finite(x.data).all()), None)


def in_gradients(model: Module, scaler: GradScaler) -> bool:
    """Whether gradients are not finite, or cannot be made so where a scaler skips such steps.
    Whatever spoils one spoils those of biases and norms, which are quick to look at."""
    if scaler.enabled:
        return scaler.get_scale() < LEAST
    small = [p.grad.data for p in model.parameters() if p.ndim < 2 and p.grad is not None]
    return bool(small and not backend.active().all_finite(small))


def in_layer(loss: Callable[[], Tensor], check_inf: bool) -> str:
    """What anomaly mode says of a loss that is computed once more."""
    try:
        with detect_anomaly(check_inf=check_inf):
            loss().backward()
    except AnomalyError as error:
        return str(error).replace("detect_anomaly:", ":", 1)
    except Exception:  # such as too little memory to do it twice
        pass
    return ""
