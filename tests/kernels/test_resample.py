"""kernels/resample.cu against the product with the dense matrices."""

import gc

import numpy as np
import pytest

from tinyfcn.backend.sparse import Sparse
from tinyfcn.functional.resampling import Adaptive, Average, Bilinear, Bordered, Nearest

AXES = {
    "average": (Average(9, 3, 2, 1, False, True), Average(7, 2, 2, 0, True, False)),
    "global": (Adaptive(13, 1), Adaptive(11, 1)),
    "bilinear": (Bilinear(5, 10), Bilinear(6, 17, None, True)),
    "smaller": (Bilinear(17, 4), Bilinear(16, 5)),
    "nearest": (Nearest(8, 16), Nearest(8, 19)),
    "reflect": (Bordered(4, 2, 1, "reflect"), Bordered(5, 1, 0, "replicate")),
    "wide": (Adaptive(32, 4), Adaptive(33, 35)),
}


def sparse(rows):
    matrix = np.array(rows, float)
    return Sparse(matrix.shape, *np.nonzero(matrix), matrix[matrix != 0])


MATRICES = {
    **{name: (rows.matrix(), columns.matrix()) for name, (rows, columns) in AXES.items()},
    "one pixel": (sparse([[1]]), sparse([[1]])),
    "with gaps": (sparse([[0, 0, 0], [1, 0, 2]]), sparse([[0, 3, 0, 4], [0, 0, 0, 0]])),
}


def exact(x, rows, columns):
    """The product in float64, and with absolute values: the scale of its error."""
    rows, columns, x = rows.dense(), columns.dense(), x.astype("float64")
    return rows @ x @ columns.T, np.abs(rows) @ np.abs(x) @ np.abs(columns).T


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_resample(cuda, numbers, close, dtype, name, adjoint):
    rows, columns = (m.T if adjoint else m for m in MATRICES[name])
    x = numbers(2, 3, rows.shape[1], columns.shape[1], dtype=dtype)
    expected, scale = exact(x, rows, columns)
    terms = np.bincount(rows.rows).max(initial=0) * np.bincount(columns.rows).max(initial=0)
    close(cuda.resample2d(x, rows, columns), expected, terms, scale)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_float16_is_rounded_once(cuda, numbers, same, name, adjoint):
    """Whatever lies between two passes is float32."""
    rows, columns = (m.T if adjoint else m for m in MATRICES[name])
    x = numbers(2, 3, rows.shape[1], columns.shape[1], dtype="float16")
    y = cuda.resample2d(x.astype("float32"), rows, columns)
    same(cuda.resample2d(x, rows, columns), y.astype("float16"))


def test_picked_pixels_are_copies(cuda, numbers, same, stored):
    x = numbers(1, 2, 4, 5, dtype=stored)
    x[0, 0, 1, 1], x[0, 1, 2, 3] = np.nan, np.inf
    rows, columns = MATRICES["reflect"]
    same(cuda.resample2d(x, rows, columns), x[:, :, [2, 1, 0, 1, 2, 3, 2]][..., [0, 0, 1, 2, 3, 4]])


def test_of_no_images(cuda):
    rows, columns = MATRICES["bilinear"]
    assert cuda.resample2d(np.empty((0, 2, 5, 6)), rows, columns).shape == (0, 2, 10, 17)


def test_bands_are_kept_as_long_as_their_matrix(cuda):
    matrix = sparse(np.eye(3))
    bands = cuda._bands(matrix, "float32")
    assert cuda._bands(matrix, "float32") is bands
    assert cuda._bands(matrix, "float64") is not bands
    known = len(cuda._bands_of)
    del matrix
    gc.collect()
    assert len(cuda._bands_of) == known - 1


@pytest.mark.parametrize("name", ["bilinear", "with gaps", "wide"])
def test_every_access_is_allowed(checked, numbers, close, stored, name):
    rows, columns = MATRICES[name]
    x = numbers(2, 3, rows.shape[1], columns.shape[1], dtype=stored)
    expected, scale = exact(x, rows, columns)
    close(checked.resample2d(x, rows, columns), expected, 40, scale)
