"""Choosing a backend."""

import subprocess
import sys
import threading

import pytest

from tinyfcn import backend


def test_using_restores_the_former_backend_also_after_an_error():
    former = backend.active()
    with pytest.raises(KeyError), backend.using("numpy") as inside:
        assert backend.active() is inside
        raise KeyError
    assert backend.active() is former


def test_an_unknown_name_is_rejected_with_the_known_ones():
    with pytest.raises(ValueError, match=r"expected one of numpy.*got 'nunpy'"):
        backend.use("nunpy")


def test_the_environment_sets_the_start_value():
    code = "import tinyfcn; print(tinyfcn.backend.active().name)"
    for value, expected in (("numpy", "numpy"), ("abacus", "got 'abacus'")):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"TINYFCN_BACKEND": value, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert expected in run.stdout + run.stderr


def test_a_backend_without_values_is_for_a_block_alone():
    with pytest.raises(ValueError, match="'meta' computes no values"):
        backend.use("meta")
    former = backend.active()
    with backend.using("meta") as inside:
        assert inside.name == "meta"
    assert backend.active() is former


def test_without_values_is_this_thread_alone():
    names = []
    with backend.using("meta"):
        other = threading.Thread(target=lambda: names.append(backend.active().name))
        other.start()
        other.join()
        with backend.using("numpy") as inside:
            assert backend.active() is inside
        names.append(backend.active().name)
    former = "numpy" if names[0] == "meta" else names[0]
    assert names == [former, "meta"] and backend.active().name == former
