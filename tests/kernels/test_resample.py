"""kernels/resample.cu against the product with the dense matrices."""

import gc

import numpy as np
import pytest

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
MATRICES = {
    **{name: (rows.matrix(), columns.matrix()) for name, (rows, columns) in AXES.items()},
    "one pixel": (np.eye(1), np.eye(1)),
    "with gaps": (np.array([[0.0, 0, 0], [1, 0, 2]]), np.array([[0, 3.0, 0, 4], [0, 0, 0, 0]])),
}


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_resample(cuda, numbers, close, dtype, name, adjoint):
    rows, columns = (m.T if adjoint else m for m in MATRICES[name])
    x = numbers(2, 3, rows.shape[1], columns.shape[1], dtype=dtype)
    expected = rows @ x.astype("float64") @ columns.T
    scale = np.abs(rows) @ np.abs(x, dtype="float64") @ np.abs(columns).T
    terms = (rows != 0).sum(1).max() * (columns != 0).sum(1).max()
    close(cuda.resample2d(x, rows, columns), expected, terms, scale)


def test_picked_pixels_are_copies(cuda, numbers, same, dtype):
    x = numbers(1, 2, 4, 5, dtype=dtype)
    x[0, 0, 1, 1], x[0, 1, 2, 3] = np.nan, np.inf
    rows, columns = MATRICES["reflect"]
    same(cuda.resample2d(x, rows, columns), x[:, :, [2, 1, 0, 1, 2, 3, 2]][..., [0, 0, 1, 2, 3, 4]])


def test_of_no_images(cuda):
    rows, columns = MATRICES["bilinear"]
    assert cuda.resample2d(np.empty((0, 2, 5, 6)), rows, columns).shape == (0, 2, 10, 17)


def test_bands_are_kept_as_long_as_their_matrix(cuda):
    matrix = np.eye(3)
    matrix.flags.writeable = False
    bands = cuda._bands(matrix, "float32")
    assert cuda._bands(matrix, "float32") is bands
    assert cuda._bands(matrix.T, "float64") is not bands
    known = len(cuda._bands_of)
    del matrix
    gc.collect()
    assert len(cuda._bands_of) == known - 2

    changing = np.eye(3)
    first = cuda._bands(changing, "float32").weights
    changing *= 2
    assert (cuda._bands(changing, "float32").weights == 2 * first).all()


@pytest.mark.parametrize("name", ["bilinear", "with gaps", "wide"])
def test_every_access_is_allowed(checked, numbers, close, name):
    rows, columns = MATRICES[name]
    x = numbers(2, 3, rows.shape[1], columns.shape[1])
    scale = np.abs(rows) @ np.abs(x, dtype="float64") @ np.abs(columns).T
    expected = rows @ x.astype("float64") @ columns.T
    close(checked.resample2d(x, rows, columns), expected, 40, scale)
