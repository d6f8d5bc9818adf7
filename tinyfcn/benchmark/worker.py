"""One side of the benchmark: a process that does one piece of work, when it is told to.

    python -m tinyfcn.benchmark.worker tinyfcn
    python tinyfcn/benchmark/worker.py torch

It reads lines of JSON and answers each with one. The first is an object: what to do (``kind`` and
``arguments``), for which ``peer`` in which ``way``, with how many ``threads``, which ``backend``,
and the file of the ``network`` if it is run from one. The process prepares the work, does it once
and answers about itself. Every further line is a turn, in seconds: the work is repeated for at
least that long, at least once, and the answer tells how long each repetition took, and the peak
memory of the process so far. Between turns it waits. This file, ``work.py`` and the libraries of
peers run as scripts too, without the package around them: the Python that has PyTorch may have
nothing else, NumPy included.
"""

from __future__ import annotations

import json
import re
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def main(name: str) -> None:
    """Answer the lines of stdin until there are no more; ``name`` is the side."""
    beside = f"{__package__}." if __package__ else ""
    # Whatever else goes wrong in a peer is no defect of ours.
    expected = (ImportError, MemoryError, ValueError) if name == "tinyfcn" else Exception
    try:
        library, work = (import_module(beside + file) for file in (f"with_{name}", "work"))
        job = json.loads(sys.stdin.readline())
        about = library.setup(job)
        step = getattr(work, job["kind"])(library, **job["arguments"])
        answer({"about": about, "flops": library.count_flops(step)})
        for line in sys.stdin:
            seconds: list[float] = []
            while not seconds or sum(seconds) < float(line):
                start = time.perf_counter()
                step()
                library.synchronize()
                seconds.append(time.perf_counter() - start)
            answer({"seconds": seconds, "memory": peak_memory()})
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # whoever started this process has gone, or says what happened
    except expected as error:
        answer({"error": str(error).strip() or "not enough memory"})


def answer(message: dict[str, Any]) -> None:
    """Write a line of JSON, at once."""
    print(json.dumps(message), flush=True)


def peak_memory() -> int | None:
    """The most memory this process has had in RAM, in bytes, interpreter and libraries included.

    On Linux ``ru_maxrss`` may be that of the process which started this one; VmHWM is not.
    """
    status = Path("/proc/self/status")
    if found := re.search(r"VmHWM:\s*(\d+)", status.read_text() if status.exists() else ""):
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(sys.argv[1])
