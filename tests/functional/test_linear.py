import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, gradcheck, gradgradcheck


@given(
    lead=st.lists(st.integers(1, 4), max_size=3),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_against_loops(lead, inputs, outputs, dtype):
    random = np.random.default_rng(inputs)
    x = random.standard_normal((*lead, inputs)).astype(dtype)
    w = random.standard_normal((outputs, inputs)).astype(dtype)
    b = random.standard_normal(outputs).astype(dtype)
    expected = np.zeros((*lead, outputs))
    for index in np.ndindex(*lead):
        for o in range(outputs):
            products = (float(x[(*index, i)]) * float(w[o, i]) for i in range(inputs))
            expected[(*index, o)] = sum(products) + float(b[o])
    y = F.linear(Tensor(x), Tensor(w), Tensor(b))
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), expected, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_derivatives(lead, rng):
    x = Tensor(rng.standard_normal((*lead, 4)), requires_grad=True)
    w = Tensor(rng.standard_normal((2, 4)), requires_grad=True)
    b = Tensor(rng.standard_normal(2), requires_grad=True)
    assert gradcheck(F.linear, [x, w, b])
    assert gradgradcheck(F.linear, [x, w, b])
    assert adjointcheck(lambda t: F.linear(t, w), x)


def test_errors(rng):
    x, w = Tensor(np.zeros((2, 3))), Tensor(np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"linear: weight \(5, 4\) expects 4 features.*\(2, 3\)"):
        F.linear(x, w)
    with pytest.raises(ValueError, match=r"linear: bias must have shape \(5,\).*got \(4,\)"):
        F.linear(Tensor(np.zeros((2, 4))), w, Tensor(np.zeros(4)))
    with pytest.raises(ValueError, match="linear: weight must have 2 axes"):
        F.linear(x, Tensor(np.zeros(3)))
