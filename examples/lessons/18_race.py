"""18. A race, and how it is found

Threads of a block share memory. One writes a number, another reads it: somebody has to see to it
that the write comes first. That is what __syncthreads() is for: nobody goes on before all are here.
Without it the result depends on the order in which the threads happen to run. That is a race.

The danger is that it can be right. In this kernel each thread adds its neighbour's number to its
own, and the barrier is missing. If the threads run in order, every neighbour is there in time, and
any test passes. In another order some read what nobody has written yet.

Running a test many times proves nothing. The emulator's mode "check" does not wait for a wrong
result: it knows who wrote and read each byte since the last barrier. A read of what another thread
writes, without a barrier in between, is a race in every order, right or wrong.

Change one line: BARRIER, by taking its slashes away. What does check say now?

Source: Lamport, "Time, clocks, and the ordering of events in a distributed system" (1978); NVIDIA's
compute-sanitizer, tool racecheck. A race in a real kernel is planted in kernels/README.md.
Explorer: http://127.0.0.1:8642/#kernel?cut=1&name=gemm_2
"""

# %% A kernel of five lines
import tempfile
import textwrap
from pathlib import Path

import numpy as np

from tinyfcn.backend.cuda.emulator import Emulator, KernelError
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
THREADS, RUNS, BARRIER = 24, 12, "// __syncthreads();"

KERNEL = f"""__global__ void neighbours(const float* x, float* y) {{
    __shared__ float shared[{THREADS}];
    const int t = threadIdx.x;
    shared[t] = x[t];
    {BARRIER}
    y[t] = t > 0 ? shared[t - 1] + shared[t] : shared[t];
}}
"""
print(KERNEL.strip())


def run(mode, seed=None):
    x, y = np.arange(1, THREADS + 1, dtype=np.float32), np.empty(THREADS, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "neighbours.cu").write_text(KERNEL)
        emulator = Emulator(mode, seed, folder=Path(folder))
        emulator.run("neighbours.cu", "neighbours", (1, 1, 1), (THREADS, 1, 1), (x, y))
    return y


# %% In order, and in some other orders
right, wrong = np.arange(1, 2 * THREADS, 2), []
for seed in (None, *range(RUNS - 1)):  # what nobody has written yet is NaN
    wrong.append(run("fast", seed) != right)
counts = np.sum(wrong, 1)
print(f"in order:        {counts[0]} of {THREADS} results are wrong")
print(f"in other orders: {counts[1:].min()} to {counts[1:].max()} are wrong")

# %% What watches every access
try:
    run("check")
    found = "no race"
except KernelError as error:
    found = f"{error.kind}: {error}"
print(f"\n{textwrap.fill(found, 78)}")

# %% Who got a wrong result in which run
title = (
    f"results of threads 0 to {THREADS - 1}; a row is a run, the first in order; orange is wrong"
)
lesson.show(sheet(grid(-np.array(wrong, float), title, 31, None)))

# %%
lesson.ask("""Four threads run this kernel one after the other, without the barrier. In how many of
the 24 orders is every result right?""")
