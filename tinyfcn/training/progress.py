"""How far a run is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Progress:
    """How far a run is; part of the checkpoint.

    Attributes:
        epoch: epochs that are complete, evaluation included.
        iteration: optimizer steps taken.
        seconds: spent so far, all parts of an interrupted run together.
        trained: the steps of the running epoch are all taken, its evaluation is not complete.
        loss_sum, losses: of the batches since the last evaluation.
        best_mean_iu, best_epoch: the best evaluation so far; epoch 0 if there is none.
    """

    epoch: int = 0
    iteration: int = 0
    seconds: float = 0.0
    trained: bool = False
    loss_sum: float = 0.0
    losses: int = 0
    best_mean_iu: float = -math.inf
    best_epoch: int = 0
