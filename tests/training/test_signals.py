"""Signals set a flag; nothing is written and nothing raised, but by Ctrl-C once more."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tinyfcn.training.signals import StopSignals

BOTH = ["SIGINT", "SIGTERM", "SIGHUP"]


@pytest.mark.parametrize("name", BOTH)
def test_a_signal_is_noted_and_nothing_else(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(signal, name)
    former = signal.getsignal(number)
    if name == "SIGHUP":
        monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    stop = StopSignals()
    with stop.noted():
        signal.raise_signal(number)
        assert stop.number == number
        for again in (signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(again)
        assert stop.number == number, "the first is the reason"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    monkeypatch.undo()
    assert signal.getsignal(number) == former
    assert capfd.readouterr() == ("", "")


def test_under_nohup_a_run_goes_on() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopSignals()
        with stop.noted():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.number is None
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_another_thread_changes_nothing() -> None:
    def note() -> None:
        with StopSignals().noted():
            found.append(signal.getsignal(signal.SIGTERM))

    found: list[object] = []
    thread = threading.Thread(target=note)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
