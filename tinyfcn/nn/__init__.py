"""Layers with parameters of their own, under PyTorch's names and arguments.

Each file lists what it gives in its ``__all__``; a new layer is named there and nowhere else.
"""

# ruff: noqa: F403  (a star takes what __all__ lists: no name is written twice)

from tinyfcn.nn import init as init
from tinyfcn.nn.activation import *
from tinyfcn.nn.container import *
from tinyfcn.nn.conv import *
from tinyfcn.nn.dropout import *
from tinyfcn.nn.loss import *
from tinyfcn.nn.module import *
from tinyfcn.nn.normalization import *
from tinyfcn.nn.pooling import *
from tinyfcn.nn.recompute import *
from tinyfcn.nn.shape import *
