"""16. Threads, and why results keep the same bits

(a + b) + c is not a + (b + c) once numbers are rounded. So a sum that is cut into as many parts as
there are threads has other last bits on a machine with 4 threads than on one with 2. A training
amplifies that: after some hundred steps two runs have other weights, and nobody can repeat the
other's result.

The way out is to cut by shape, never by the number of threads. This engine cuts its work into
pieces of a size that depends on the arrays alone; threads take pieces as they come, and no number
is the sum of what several threads happened to do. One thread or sixteen: the same bits, for the
forward pass and for every gradient. What it costs is that pieces may not fit the threads evenly.

Change one line: COUNT, to 1000. How many different results are there now?

Source: Goldberg, "What every computer scientist should know about floating-point arithmetic"
(1991); Demmel, Nguyen, "Fast reproducible floating-point summation" (2013).
Explorer: http://127.0.0.1:8642/#learning?eps=1e-10&part=check
"""

# %% A sum in as many parts as there are threads
import hashlib
import os
from unittest import mock

import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, plot, sheet

lesson = Lesson(__doc__)
COUNT, PARTS = 100_000, range(1, 17)

numbers = np.random.default_rng(0).standard_normal(COUNT).astype(np.float32)
true = float(np.sum(numbers.astype(np.float64)))
sums = []
for parts in PARTS:
    of_threads = [np.cumsum(part)[-1] for part in np.array_split(numbers, parts)]  # in order
    sums.append(np.cumsum(np.array(of_threads, np.float32))[-1])
print(f"the sum of {COUNT:,} numbers is {true:.6f}; in float32, by so many threads:")
for parts in (1, 2, 4, 16):
    print(f"  {parts:2} {sums[parts - 1]:.6f}")
print(f"{len(set(map(float, sums)))} different results of {len(sums)}")


# %% The engine with as many threads
def with_threads(count, function):
    with mock.patch.dict(os.environ, TINYFCN_NUM_THREADS=str(count)):
        return function()


rng = np.random.default_rng(0)
x = rng.standard_normal((2, 32, 48, 48)).astype(np.float32)
w = rng.standard_normal((64, 32, 3, 3)).astype(np.float32)


def fingerprint():  # of all bits of a loss and its gradients
    image, weight = tinyfcn.tensor(x, requires_grad=True), tinyfcn.tensor(w, requires_grad=True)
    loss = F.relu(F.conv2d(image, weight, padding=1)).mean()
    loss.backward()
    arrays = loss.numpy(), image.grad.numpy(), weight.grad.numpy()
    return hashlib.sha256(b"".join(map(np.ndarray.tobytes, arrays))).hexdigest()[:12]


prints = {threads: with_threads(threads, fingerprint) for threads in (1, 2, 3, 4, 8)}
print("\nloss and gradients of a convolution, on so many threads:")
for threads, digest in prints.items():
    print(f"  on {threads} {digest}")

# %% The last bits of the sum, and of the engine's
own = [with_threads(n, lambda: tinyfcn.tensor(numbers).sum().item()) for n in PARTS]
last = float(np.spacing(np.float32(abs(true))))
off = {"a part for each thread": (PARTS, [(s - true) / last for s in sums]),
       "the engine": (PARTS, [(s - true) / last for s in own])}  # fmt: skip
lesson.show(sheet(plot(off, "Error of the sum, in units of its last bit", "threads")))

# %%
lesson.ask("""1, 1, 1e8 and -1e8 are added in float32, one after the other. How many different
results can that have, over all orders, and which is the right one?""")
