"""The Tensor: what it holds, converts and rejects."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import Tensor, tensor


def test_python_numbers_become_float32_and_int64_arrays_keep_their_dtype():
    assert tensor([1.0, 2.0]).dtype == np.float32
    assert tensor([1, 2]).dtype == np.int64
    assert tensor(np.zeros(2)).dtype == np.float64
    assert tensor(np.zeros(2, np.uint8)).dtype == np.uint8
    assert tensor([1, 2], dtype="float64").dtype == np.float64


def test_tensor_copies_and_Tensor_shares():
    array = np.zeros(3)
    copied, shared = tensor(array), Tensor(array)
    array[0] = 1
    assert copied.data[0] == 0
    assert shared.data[0] == 1


def test_layout_survives_the_copy():
    channels_last = np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    assert tensor(channels_last).data.strides == channels_last.strides


def test_integers_cannot_require_a_gradient():
    with pytest.raises(TypeError, match="floating dtype, got int64"):
        tensor([1, 2], requires_grad=True)


def test_item_needs_one_element():
    assert tensor([[2.5]]).item() == 2.5
    with pytest.raises(ValueError, match=r"item.*\(2,\)"):
        tensor([1.0, 2.0]).item()


def test_python_numbers_do_not_change_the_dtype():
    for dtype in (np.float16, np.float32, np.float64):
        x = tensor([1.0, 2.0], dtype=dtype)
        for y in (x + 1, 1.0 - x, x * 2.5, 1 / x, x**2, 2**x, -x):
            assert y.dtype == dtype


def test_arrays_leave_operators_to_the_tensor():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = np.array([3.0, 4.0], np.float32) * x
    assert isinstance(y, Tensor)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0])


def test_detach_shares_memory_outside_the_graph():
    x = tensor([1.0], requires_grad=True)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert y.requires_grad_().requires_grad  # which only a leaf can be asked


def test_max_along_an_axis_gives_values_and_indices():
    values, indices = tensor([[1.0, 5.0, 5.0], [7.0, 0.0, 1.0]]).max(1)
    np.testing.assert_array_equal(values.numpy(), [5, 7])
    np.testing.assert_array_equal(indices.numpy(), [1, 0])


def test_shapes_that_do_not_fit_are_rejected_in_words():
    x = tensor(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"add: shapes \(2, 3\) and \(2,\) do not broadcast"):
        x + tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="reshape: 6 elements"):
        x.reshape(4, 2)
    with pytest.raises(ValueError, match="matmul: inner sizes differ: 3"):
        x @ tensor(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="permute"):
        x.permute(0, 0)
    with pytest.raises(ValueError, match="sum: dim 2 is out of range"):
        x.sum(dim=2)


def test_repr_reads_back():
    assert repr(tensor([1.0, 2.0], requires_grad=True)) == (
        "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    )


def test_no_grad_records_nothing_and_ends_also_after_an_error():
    x = tensor([1.0], requires_grad=True)
    with tinyfcn.no_grad():
        assert not (x * 2).requires_grad
    with pytest.raises(KeyError), tinyfcn.no_grad():
        raise KeyError
    assert tinyfcn.is_grad_enabled()

    @tinyfcn.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    assert not double(x).requires_grad


def test_comparisons_are_by_element():
    x = tensor([1.0, 2.0, 3.0])
    for given, expected in (
        (x == tensor([1.0, 0.0, 3.0]), [True, False, True]),
        (x != 2.0, [True, False, True]),
        (x < 2, [True, False, False]),
        (x >= np.array([2, 2, 2]), [False, True, True]),
        (np.array([1.0, 1.0, 3.0]) == x, [True, False, True]),
    ):
        assert isinstance(given, Tensor)
        assert given.numpy().tolist() == expected
    assert len({x, x, tensor([1.0, 2.0, 3.0])}) == 2  # as a key a tensor is itself


def test_choices_by_element_are_methods_too():
    array = np.array([[-2.0, 0.5], [3.0, -0.5]])
    other = np.array([1.0, -1.0])
    x, y = tensor(array), tensor(other)
    for given, expected in (
        (abs(x), np.abs(array)),
        (x.abs(), np.abs(array)),
        (x.clamp(-1, 1), np.clip(array, -1, 1)),
        (x.clamp(max=0), np.minimum(array, 0)),
        (x.minimum(y), np.minimum(array, other)),
        (x.maximum(0.25), np.maximum(array, 0.25)),
        (x.where(x > y, y), np.where(array > other, array, other)),
    ):
        np.testing.assert_array_equal(given.numpy(), expected)


def test_python_and_numpy_can_read_a_tensor():
    x = tensor([[2.5]], requires_grad=True)
    assert (float(x), int(x)) == (2.5, 2)
    array = np.asarray(tensor([1.0, 2.0]))
    assert (array.dtype, array.tolist()) == (np.float32, [1.0, 2.0])
    assert np.asarray(x, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="one element"):
        float(tensor([1.0, 2.0]))


@pytest.mark.parametrize("data", ["abc", None, [object()], 1j])
def test_only_numbers_become_tensors(data):
    with pytest.raises(TypeError, match="a Tensor holds numbers, got dtype"):
        tensor(data)


@pytest.mark.parametrize("seed", [-1, "a", 1.5])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(ValueError, match="manual_seed: expected an integer of at least 0"):
        tinyfcn.manual_seed(seed)
