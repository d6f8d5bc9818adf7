"""The Tensor: what it holds, converts and rejects."""

import functools
import inspect
import math
import threading

import numpy as np
import pytest

import tinyfcn
from tinyfcn import Tensor, tensor
from tinyfcn.tensor import set_grad_enabled


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


X = tensor([1.0], requires_grad=True)


def recorded():
    return (X * 2).requires_grad


def counting():
    """Gives whether the graph is recorded, also when something is thrown in, and in the end."""
    try:
        got = yield recorded()
        assert got == "sent"
        try:
            yield recorded()
        except KeyError:
            yield recorded()
        return recorded()
    finally:
        ENDED.append(recorded())


def using_a_generator(make):
    """What it gave, and whether the graph was recorded outside between its steps."""
    steps = make()
    inside, outside = [next(steps), steps.send("sent"), steps.throw(KeyError)], [recorded()]
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert recorded()
    with tinyfcn.no_grad():
        steps = make()
        inside.append(next(steps))
        outside.append(not recorded())
        steps.close()
    for forgotten in (make(), make()):
        inside.append(next(forgotten))
        outside.append(recorded())
    del steps, forgotten
    return [*inside, end.value.value], outside


ENDED = []


@pytest.mark.parametrize("decorate", [tinyfcn.no_grad(), tinyfcn.no_grad])
def test_no_grad_holds_in_every_step_of_a_generator_and_in_none_of_its_caller(decorate):
    ENDED.clear()
    inside, outside = using_a_generator(decorate(counting))
    assert not any(inside)
    assert all(outside)
    assert ENDED == [False] * 4
    assert tinyfcn.is_grad_enabled()
    with tinyfcn.no_grad():
        assert next(set_grad_enabled(True)(counting)())
        assert not recorded()
    assert inspect.isgeneratorfunction(decorate(counting))
    assert decorate(counting).__doc__ == counting.__doc__


def test_generators_take_turns():
    @tinyfcn.no_grad()
    def without():
        for _ in range(3):
            yield recorded()

    def plain():
        for _ in range(3):
            yield recorded()

    assert list(zip(without(), plain(), without(), strict=True)) == [(False, True, False)] * 3

    @tinyfcn.no_grad()
    def outer():
        return (yield from plain())

    assert list(outer()) == [False] * 3
    assert tinyfcn.is_grad_enabled()


def test_no_grad_can_be_entered_again_also_inside_itself():
    once = tinyfcn.no_grad()
    for _ in range(2):
        with once, once:
            assert not recorded()
            with set_grad_enabled(True):
                assert recorded()
                with once:
                    assert not recorded()
                assert recorded()
            assert not recorded()
        assert recorded()

    @once
    def factorial(n):
        assert not recorded()
        return n * factorial(n - 1) if n else 1

    @once
    def failing():
        raise KeyError

    assert factorial(5) == 120
    with pytest.raises(KeyError):
        failing()
    assert recorded()


def test_no_grad_decorates_methods_and_what_has_no_parentheses():
    class Model:
        @tinyfcn.no_grad
        def method(self, scale=1):
            return recorded(), scale

        @classmethod
        @tinyfcn.no_grad()
        def of_class(cls):
            return recorded(), cls

        @staticmethod
        @tinyfcn.no_grad()
        def of_none():
            return recorded()

    assert Model().method(scale=3) == (False, 3)
    assert Model.of_class() == (False, Model)
    assert not Model.of_none()
    assert not functools.partial(tinyfcn.no_grad(recorded))()


def test_no_grad_rejects_what_it_would_do_nothing_for():
    async def coroutine():
        pass

    async def asynchronous():
        yield

    for wrong in (coroutine, asynchronous, Tensor, 3):
        with pytest.raises(TypeError, match="only functions and generators can be decorated, got"):
            tinyfcn.no_grad()(wrong)


def test_the_mode_belongs_to_the_thread():
    seen = []
    once = tinyfcn.no_grad()

    @once
    def work(barrier):
        barrier.wait()
        seen.append(recorded())
        barrier.wait()

    barrier = threading.Barrier(4, timeout=10)
    threads = [threading.Thread(target=work, args=(barrier,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    barrier.wait()
    assert recorded()
    with once:
        barrier.wait()
    for thread in threads:
        thread.join()
    assert seen == [False] * 3
    assert recorded()

    def unfinished():
        with once:
            yield

    steps = unfinished()
    thread = threading.Thread(target=next, args=(steps,))
    thread.start()
    thread.join()
    steps.close()  # here, where nothing was entered
    assert recorded()


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


@pytest.mark.parametrize(
    ("value", "spec"),
    [(2.5, ".3f"), (-0.125, "+.1e"), (7, "5d"), (7, "04x"), (0.5, "%"), (True, ">8"), (2.5, "")],
)
def test_a_tensor_without_axes_is_formatted_as_a_number(value, spec):
    assert format(tensor(value), spec) == format(value, spec)
    assert format(tensor([value]).sum() if spec == ".3f" else tensor(value), spec)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0], []])
def test_a_tensor_with_axes_is_not(values):
    assert f"{tensor(values)}" == str(tensor(values))
    with pytest.raises(TypeError, match="unsupported format string"):
        format(tensor(values), ".3f")


@pytest.mark.parametrize(
    "go", [list, tuple, iter, len, lambda t: [*t], lambda t: next(zip(t)), lambda t: math.prod(t)]
)
@pytest.mark.parametrize("value", [3.0, 0, True])
def test_a_tensor_without_axes_has_nothing_to_go_through(go, value):
    with pytest.raises(TypeError, match="0-d tensor"):
        go(tensor(value))


@pytest.mark.parametrize("data", ["abc", None, [object()], 1j])
def test_only_numbers_become_tensors(data):
    with pytest.raises(TypeError, match="a Tensor holds numbers, got dtype"):
        tensor(data)


@pytest.mark.parametrize("seed", [-1, "a", 1.5])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(ValueError, match="manual_seed: expected an integer of at least 0"):
        tinyfcn.manual_seed(seed)
