"""Matrix products, cut into fixed pieces that the threads share out.

BLAS could share them out itself, but rounds by the number of its threads, which other ops hold to
one meanwhile or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.threads import parallel_for, split

PIECE = 1 << 22  # multiplications of a piece, at least
MOST = 8  # pieces
LONG = 1 << 15  # products that BLAS adds up in float32


class MatMul(Backend):
    """Pieces of the rows of a or of the columns of b, whichever are more."""

    def matmul(self, a: Any, b: Any) -> Any:
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        y = np.empty((*leading, a.shape[-2], b.shape[-1]), np.result_type(a, b))
        runs = split(a.shape[-1], LONG)
        if len(runs) > 1:
            parts = parallel_for(lambda run: a[..., run] @ b[..., run, :], runs)
            return np.sum(parts, axis=0, dtype=np.result_type(y, np.float64)).astype(y.dtype)
        by_rows = y.shape[-2] > y.shape[-1]

        def task(piece: slice) -> None:
            if by_rows:
                np.matmul(a[..., piece, :], b, out=y[..., piece, :])
            else:
                np.matmul(a, b[..., piece], out=y[..., piece])

        longest = max(y.shape[-2:])
        pieces = min(MOST, max(1, y.size * a.shape[-1] // PIECE))
        parallel_for(task, split(longest, -(-longest // pieces)))
        return y
