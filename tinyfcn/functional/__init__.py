"""The ops that users call, under PyTorch's names; usually ``import tinyfcn.functional as F``.

Each file lists what it gives in its ``__all__``; a new op is named there and nowhere else.
"""

# ruff: noqa: F403  (a star takes what __all__ lists: no name is written twice)

import types

from tinyfcn.functional.activation import *
from tinyfcn.functional.arithmetic import *
from tinyfcn.functional.comparison import *
from tinyfcn.functional.conv import *
from tinyfcn.functional.dropout import *
from tinyfcn.functional.linear import *
from tinyfcn.functional.loss import *
from tinyfcn.functional.normalization import *
from tinyfcn.functional.padding import *
from tinyfcn.functional.pooling import *
from tinyfcn.functional.reduction import *
from tinyfcn.functional.shape import *
from tinyfcn.functional.unpooling import *
from tinyfcn.functional.upsampling import *

__all__ = [name for name, op in list(globals().items()) if isinstance(op, types.FunctionType)]
