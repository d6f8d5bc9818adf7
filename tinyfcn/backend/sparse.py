"""A matrix of which few elements are not 0, and those of a row near each other: for resampling."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Sparse:
    """Its elements that are not 0, row by row; nobody writes into them.

    Attributes:
        shape: (OUT, IN).
        rows, columns: where each element stands; rows never fall.
        values: float64.

    Example:
        >>> rows, columns, values = np.array([[0, 1, 1], [2, 0, 1], [5, 0, 7]])
        >>> matrix = Sparse((2, 3), rows, columns, values)
        >>> matrix.dense()
        array([[0., 0., 5.],
               [0., 7., 0.]])
        >>> len(matrix.values), matrix.T.shape
        (2, (3, 2))
    """

    def __init__(self, shape: tuple[int, int], rows: Any, columns: Any, values: Any) -> None:
        used = np.flatnonzero(values)
        self.shape = shape
        self.rows: NDArray[np.intp] = rows[used]
        self.columns: NDArray[np.intp] = columns[used]
        self.values: NDArray[np.float64] = values[used]

    def __len__(self) -> int:
        return self.shape[0]

    @functools.cached_property
    def T(self) -> Sparse:
        """The transposed matrix, kept as long as this one is."""
        order = np.argsort(self.columns, kind="stable")
        out, inputs = self.shape
        return Sparse((inputs, out), self.columns[order], self.rows[order], self.values[order])

    def dense(self, dtype: Any = np.float64) -> NDArray[Any]:
        """The whole matrix."""
        whole = np.zeros(self.shape, dtype)
        whole[self.rows, self.columns] = self.values
        return whole
