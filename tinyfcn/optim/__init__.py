"""Optimizers, and schedules for their learning rate; names and meaning as in PyTorch."""

from tinyfcn.optim.adam import Adam, AdamW
from tinyfcn.optim.groups import parameter_groups
from tinyfcn.optim.optimizer import Optimizer
from tinyfcn.optim.schedule import (
    ConstantLR,
    CosineLR,
    LinearWarmup,
    PolyLR,
    Schedule,
    StepLR,
)
from tinyfcn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ConstantLR",
    "CosineLR",
    "LinearWarmup",
    "Optimizer",
    "PolyLR",
    "Schedule",
    "StepLR",
    "parameter_groups",
]
