"""What environment variables may hold, and what is said of anything else."""

from __future__ import annotations

import pytest

from tinyfcn import backend
from tinyfcn.backend.cpu import conv, memory, threads
from tinyfcn.backend.cpu.conv import kept
from tinyfcn.backend.cuda import convolution, gemm
from tinyfcn.backend.cuda.emulator import from_environment
from tinyfcn.backend.errors import BackendError
from tinyfcn.backend.setting import SettingError, whole_number

READERS = {
    "TINYFCN_BACKEND": lambda: backend._at_start(),
    "TINYFCN_CONV": conv.algorithm,
    "TINYFCN_CUDA_CONV": convolution.algorithm,
    "TINYFCN_CUDA_GEMM": gemm.algorithm,
    "TINYFCN_EMULATOR": from_environment,
    "TINYFCN_KEEP_KERNELS": kept.keeping,
    "TINYFCN_KEEP_MEMORY": memory.keep,
    "TINYFCN_NUM_THREADS": threads.num_threads,
}
FOREIGN = ["abacus", "-1", "1e309", " ", "9" * 5000, "\udcff\udcfe", "seed=" + "9" * 30]


@pytest.mark.parametrize("value", FOREIGN, ids=lambda value: ascii(value[:9]))
@pytest.mark.parametrize("variable", READERS)
def test_what_a_variable_cannot_hold_is_said_with_its_name(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        SettingError, match=rf"^{variable}\b.*(expected|must be).*, got '"
    ) as caught:
        READERS[variable]()
    assert isinstance(caught.value, BackendError)  # a command says it in one line
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


def test_a_number_within_its_bounds(monkeypatch):
    monkeypatch.delenv("LEGS", raising=False)
    assert whole_number("LEGS", 8, most=100) == 8
    for value, expected in (("1", 1), ("100", 100), (" 6\n", 6), ("007", 7)):
        monkeypatch.setenv("LEGS", value)
        assert whole_number("LEGS", 8, most=100) == expected
    for value in ("", "0", "101", "1_0", "+5", "٣", "5.0", "0x5"):
        monkeypatch.setenv("LEGS", value)
        with pytest.raises(SettingError, match="LEGS must be an integer from 1 to 100, got"):
            whole_number("LEGS", 8, most=100)
