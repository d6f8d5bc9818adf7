"""Every size of a kernel's input up to some number, the smallest first.

Sizes come in shells: shell n has those whose largest number is n, so that whoever stops knows of
every size up to the last whole shell.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

from tinyfcn.backend.cuda.emulator import Emulator, KernelError
from tinyfcn.functional.pooling import pool_window
from tinyfcn.kernel_lab.cases import CASES, sizes
from tinyfcn.kernel_lab.work import Unfit, exact, verdicts, work

FLAGS = "CEIL", "FOREIGN"  # no or yes, in every shell
LEAST = {"PH": 0, "PW": 0, "CEIL": 0, "FOREIGN": 0}  # of other axes 1
PLANES = {"N": range(1, 2), "C": range(2, 3)}  # of max pooling, unless others are asked for

Ranges = dict[str, range]  # the numbers of each axis
Size = tuple[int, ...]


def ranges(name: str, most: list[int]) -> Ranges:
    """The numbers of each axis: up to one number; or up to one for each of the first axes, while
    the others keep what is usual."""
    usual = sizes(CASES[name], window=True)
    found = {axis: range(number, number + 1) for axis, number in usual.items()}
    upto = most if len(most) > 1 else most * len(usual)
    found |= {a: range(LEAST.get(a, 1), n + 1) for a, n in zip(usual, upto, strict=False)}
    if "CEIL" in usual and len(most) == 1:
        half, foreign = range(most[0] // 2 + 1), range(1 + (name != "max_pool2d"))
        found |= PLANES | {"PH": half, "PW": half, "CEIL": range(2), "FOREIGN": foreign}
    return found


def within(numbers: Ranges, n: int) -> Ranges:
    """The numbers up to shell n."""
    return {axis: r if axis in FLAGS or len(r) == 1 else r[: n + 1 - r[0]]
            for axis, r in numbers.items()}  # fmt: skip


def shells(numbers: Ranges) -> Iterator[tuple[int, int, Iterator[Size]]]:
    """n, the number of sizes in its shell, and these. Not all of them give a kernel work."""
    moving = [axis not in FLAGS and len(r) > 1 for axis, r in numbers.items()]
    last = max((r[-1] for r in itertools.compress(numbers.values(), moving)), default=1)
    before = 0
    for n in range(1, last + 1):
        found = within(numbers, n).values()
        total = math.prod(map(len, found))
        yield n, total - before, (
            size for size in itertools.product(*found)
            if max(itertools.compress(size, moving), default=n) == n or n == 1
        )  # fmt: skip
        before = total


def look(engine: Emulator, name: str, size: Size, dtype: str) -> str | None:
    """What is wrong with a kernel for one size: "" if nothing is, None if it has nothing to do.

    It works on small whole numbers, whose sums are exact.
    """
    # N C, then H W and the window, each for both axes; CEIL. What does not fit is told at once.
    if "CEIL" in sizes(CASES[name], window=True) and not (
        _fits(*size[2:12:2], size[12]) and _fits(*size[3:12:2], size[12])
    ):
        return None
    try:
        _, results = work(engine, name, size, dtype, whole=True)
    except Unfit:
        return None
    except KernelError as error:
        return f"{error.kind}: {error}"
    found = verdicts(results, exact(name, size, dtype, whole=True))
    return next((f"no fault, but {verdict}" for right, verdict in found if not right), "")


@functools.cache
def _fits(n: int, k: int, s: int, p: int, d: int, ceil: int) -> bool:
    """Whether there is such a window along one axis; if it has one pixel, without dilation."""
    try:
        pool_window("", (1, 1, n, 1), (k, 1), (s, 1), (p, 0), (d, 1), bool(ceil))
    except ValueError:
        return False
    return k > 1 or d == 1
