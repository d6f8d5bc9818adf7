"""Optimizers, and schedules for their learning rate; names and meaning as in PyTorch."""

# ruff: noqa: F403  (a star takes what __all__ lists: no name is written twice)

from tinyfcn.optim.adam import *
from tinyfcn.optim.grad_scaler import *
from tinyfcn.optim.groups import *
from tinyfcn.optim.optimizer import *
from tinyfcn.optim.schedule import *
from tinyfcn.optim.sgd import *
