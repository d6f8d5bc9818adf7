"""Resampling takes the memory of its images; its matrices are few numbers, and few are kept."""

import tracemalloc

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import Tensor, backend
from tinyfcn.functional.resampling import Average, Bilinear, Bordered, Nearest, Spread, Transposed

OPS = {
    "padding by reflection": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "padding by repetition": lambda x: F.pad(x, (9, 0, 3, 2), mode="replicate"),
    "a pixel more": lambda x: F.interpolate(
        x, size=(x.shape[2] + 1, x.shape[3] + 1), mode="bilinear"
    ),
    "corners aligned": lambda x: F.interpolate(
        x, scale_factor=1.5, mode="bilinear", align_corners=True
    ),
    "half": lambda x: F.interpolate(x, scale_factor=0.5),
    "means": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "wide means": lambda x: F.avg_pool2d(x, (1, 16), 1),
    "all": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (77, 1000)),
    "cells": lambda x: F.unpool_bed_of_nails(x, 2),
}


@pytest.mark.parametrize("name", OPS)
def test_peak_memory_is_that_of_the_images(name, monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")
    x = Tensor(backend.active().zeros((1, 1, 300, 4000), "float32"), requires_grad=True)
    tracemalloc.start()
    y = OPS[name](x)
    y.backward(y.data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    images = x.data.nbytes + y.data.nbytes  # the gradient of x, and y, which is its own
    assert peak <= 1.3 * (x.data.nbytes + images)


def test_of_many_sizes_few_matrices_are_kept():
    tracemalloc.start()
    for n in range(20_000, 20_064):
        for axis in (Bilinear(n, 2 * n), Nearest(n, n), Spread(n, 2), Bordered(n, 1, 1, "reflect"),
                     Average(n, 3, 1, 1, False, True)):  # fmt: skip
            axis.matrix()
            Transposed(axis).matrix()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 64 << 20


def test_a_matrix_is_the_same_one_again_and_belongs_to_its_kind():
    same, other = Nearest(2, 4), Spread(2, 4)  # equal as tuples
    assert same.matrix() is Nearest(2, 4).matrix()
    assert Transposed(same).matrix() is Transposed(same).matrix()
    for axis in (same, other, Bordered(3, 2, 2, "reflect"), Bilinear(5, 3)):
        np.testing.assert_array_equal(Transposed(axis).matrix().dense(), axis.matrix().dense().T)
    assert not np.array_equal(same.matrix().dense(), other.matrix().dense()[:4])
