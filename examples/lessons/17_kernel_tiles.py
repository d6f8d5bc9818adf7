"""17. A CUDA kernel from naive to tiles

A matrix product C = A B of size N does 2 N^3 operations on 3 N^2 numbers: every number of A and B
is needed N times. The naive kernel fetches it from memory every time, which is what a GPU is slow
at. All that follows is one idea, applied to ever nearer memory: fetch once, use often.

    gemm_1    a thread sums up one element, straight from global memory
    gemm_2    16 x 16 tiles in shared memory: an element fetched once serves 16 threads
    gemm_3    4 x 4 sums in the registers of a thread: what is shared is read less often, too
    gemm_4    8 x 4 sums, and loads of 128 bits: four numbers in one request

No GPU is needed to see it. The emulator runs the very same .cu file, thread by thread, and counts
the requests of each warp and the sectors of 32 bytes that they move. How fast that is on a GPU it
does not know. What each line costs, and why, is told in kernels/README.md.

Change one line: SIZE, to 128. By how much do the requests of each version grow?

Source: Volkov, Demmel, "Benchmarking GPUs to tune dense linear algebra" (2008); NVIDIA, "CUDA C++
programming guide" (2024), on shared memory.
Explorer: http://127.0.0.1:8642/#kernel?name=gemm_2
"""

# %% Four kernels, run and counted in the emulator
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.kernel_lab.work import exact, verdicts, work
from tinyfcn.lessons import Lesson, bars, sheet

lesson = Lesson(__doc__)
SIZE = 64

wanted = exact("gemm_1", (SIZE, SIZE, SIZE))
costs, counts = {}, {}
print(f"{SIZE} x {SIZE}          global memory          shared memory")
print("           requests    kilobytes       requests")
for name in ("gemm_1", "gemm_2", "gemm_3", "gemm_4"):
    emulator = Emulator("check", profile=True)
    _, results = work(emulator, name, (SIZE, SIZE, SIZE), "float32")
    ((right, verdict),) = verdicts(results, wanted)
    costs[name] = [cost for cost in emulator.profile() if cost.kernel.startswith(name)]
    total = {memory: [0, 0] for memory in ("global", "shared")}
    for cost in costs[name]:
        total[cost.memory][0] += cost.requests
        total[cost.memory][1] += cost.cost
    counts[name] = total
    moved = 32 * total["global"][1] / 1000
    print(f"{name} {total['global'][0]:12,} {moved:12,.0f} {total['shared'][0]:14,}   "
          f"{'right' if right else verdict}")  # fmt: skip

least = 3 * 4 * SIZE**2 / 1000
print(f"the three matrices themselves have {least:.0f} kilobytes")
ratio = counts["gemm_1"]["global"][0] / counts["gemm_4"]["global"][0]
print(f"gemm_4 makes {ratio:.0f} times fewer requests to global memory than gemm_1")

# %% Both memories
lesson.show(sheet(
    bars({name: counts[name]["global"][0] for name in counts}, "Requests to global memory", ","),
    bars({name: counts[name]["shared"][0] for name in counts}, "Requests to shared memory", ","),
))  # fmt: skip

# %%
lesson.ask("""For matrices of 64 x 64, how often does gemm_2 read each element of A from global
memory, and how often does gemm_1?""")
