"""The drill: mistakes planted in the kernels, one at a time, which the kernel tests must catch.

    python tests/kernels/drill.py [--only WORD] [--jobs N]

Each mistake of ``planted_mistakes.py`` is put into a copy of the package, its kernels and its
tests, and the tests of what it is in run there until one fails. What is printed says which one,
and by what it was caught:

- wrong in order: the result is wrong although threads ran one after the other;
- seed order: right in order, wrong when threads and blocks take turns at random;
- guard: an access beyond an array, into memory that is forbidden or nobody's;
- check build: races, bounds, alignment, shared memory that nobody wrote, what accesses cost;
- barrier: one that not all threads reach; processor: a division by zero or the like;
- NVRTC, g++: the compiler rejects it or warns; no end: the tests ran for over a minute.

The exit status is 1 if a mistake was not caught: then a test is missing. Compiled kernels are kept
in a folder of their own in the cache, so that a second run takes less time than the first.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

TABLE = runpy.run_path(str(Path(__file__).with_name("planted_mistakes.py")))
MISTAKES, Mistake = TABLE["MISTAKES"], TABLE["Mistake"]
ROOT = Path(__file__).resolve().parents[2]
LONGEST = 60  # seconds of the tests of one mistake


class Outcome(NamedTuple):
    """What became of a mistake: by what it was caught, "" if by nothing, and by which test."""

    mistake: Mistake
    by: str
    test: str
    seconds: float


def plant(mistake: Mistake, root: Path) -> None:
    """Put a mistake into a copy of the repository.

    Raises:
        ValueError: if the text to be replaced does not stand there exactly once.
    """
    source = root / mistake.path
    text = source.read_text("utf-8")
    if text.count(mistake.text) != 1:
        raise ValueError(
            f"{mistake.file}, {mistake.kernel}, {mistake.what}: expected once, found "
            f"{text.count(mistake.text)} times: {mistake.text!r}"
        )
    source.write_text(text.replace(mistake.text, mistake.replacement), "utf-8")


def drill(mistake: Mistake, cache: Path) -> Outcome:
    """Run the tests of what has a mistake.

    Raises:
        RuntimeError: if pytest did not come to run them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for folder in ("kernels", "tinyfcn", "tests"):
            shutil.copytree(ROOT / folder, root / folder)
        shutil.copy(ROOT / "setup.cfg", root)
        plant(mistake, root)
        report = root / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider",
            "--hypothesis-profile=first failure", f"--junitxml={report}", *mistake.test_files,
        ]  # fmt: skip
        names = {"PYTHONPATH": str(root), "TINYFCN_CACHE": str(cache)}
        start = time.perf_counter()
        try:
            answer = subprocess.run(
                command, cwd=root, env={**os.environ, **names}, capture_output=True, text=True,
                timeout=LONGEST,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(mistake, "no end", "", LONGEST)
        seconds = time.perf_counter() - start
        if answer.returncode < 0:  # ended by a signal: in order, nothing guards the heap
            return Outcome(mistake, "crash", "", seconds)
        if answer.returncode not in (0, 1):
            raise RuntimeError(f"pytest did not run: {answer.stdout}{answer.stderr}")
        for case in ElementTree.parse(report).iter("testcase"):
            for failure in (*case.iter("failure"), *case.iter("error")):
                by = caught_by(name_of(case), failure.get("message", ""))
                return Outcome(mistake, by, name_of(case), seconds)
        return Outcome(mistake, "", "", seconds)


def name_of(case: ElementTree.Element) -> str:
    """Of a test: "test_relu.py::test_relu[in order]"."""
    return f"{case.get('classname', '').split('.')[-1]}.py::{case.get('name')}"


def caught_by(test: str, said: str) -> str:
    """In a word, what caught a mistake: from the test that failed and its exception."""
    if test.startswith("test_nvrtc"):
        return "NVRTC"
    if "BuildError" in said:
        return "g++"
    if "every_access" in test:
        return "check build"
    if "KernelError" in said:
        if "waits" in said:
            return "barrier"
        return "processor" if "divides" in said else "guard"
    return "seed order" if "[seed" in test else "wrong in order"


def drills(mistakes: list[Mistake], jobs: int) -> Iterator[Outcome]:
    """The outcome of each mistake, in order, ``jobs`` at a time."""
    sys.path.insert(0, str(ROOT))
    from tinyfcn.backend.cuda.emulator.build import cache_folder

    cache = cache_folder() / "planted-mistakes"
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda mistake: drill(mistake, cache), mistakes)


def main(arguments: list[str] | None = None) -> int:
    """Run the drill and print its table; 1 if a mistake was not caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mistakes with this word in their line")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time (default 1)")
    options = parser.parse_args(arguments)
    chosen = [m for m in MISTAKES if options.only in f"{m.file} {m.kernel} {m.what}"]
    if not chosen:
        parser.error(f"--only {options.only}: no mistake has this word in its line")

    missed = 0
    start = time.perf_counter()
    for mistake, by, test, seconds in drills(chosen, options.jobs):
        missed += not by
        print(
            f"{mistake.file:22} {mistake.kernel:27} {mistake.what:50} "
            f"{by or 'NOT CAUGHT':14} {seconds:4.0f} s  {test}",
            flush=True,
        )
    places = len({m.kernel for m in chosen})
    print(
        f"{len(chosen)} mistakes in {places} kernels and their parts: "
        f"{len(chosen) - missed} caught, {missed} not, {time.perf_counter() - start:.0f} s"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
