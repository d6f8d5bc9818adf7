"""Every size up to some: what is right passes, and a mistake that few sizes show is found."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyfcn import cli
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.backend.cuda.kernels import folder
from tinyfcn.cli import kernels
from tinyfcn.functional.pooling import pool_window
from tinyfcn.kernel_lab import every_size
from tinyfcn.kernel_lab.every_size import ranges, shells

Call = Callable[..., tuple[int, str]]

# kernel, file, right, wrong, --sizes; the size, kind and line that are found; and whether the check
# of one size and of one a little larger finds it too.
PLANTED = [
    # A window that ends one row below the image, as no 2 × 2 window does.
    ("max_pool2d", "max_pool.cu", "return last < n ?", "return last <= n ?", "2",
     "1 2 1 1 1 2 1 1 0 1 1 1 0 0", "outside", "const T v = image", False),
    # The next tile is filled while another thread still reads this one, if there is a next one.
    ("gemm_2", "gemm.cu", "right[k][x];\n        __syncthreads();", "right[k][x];", "1 2 18",
     "1 1 17", "race", "for (int k = 0", True),
    # Four columns are written at once where there are but two: right for 128 and for 129.
    ("gemm_4", "gemm.cu", "N % Vector<T>::SIZE == 0", "N % 2 == 0", "3",
     "1 2 1", "outside", "*(Vector<T>*)place", False),
]  # fmt: skip


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kernels with all of these mistakes."""
    copy = Path(shutil.copytree(folder(), tmp_path_factory.mktemp("spoiled") / "kernels"))
    for _, file, right, wrong, *_ in PLANTED:
        text = (copy / file).read_text("utf-8")
        assert text.count(right) == 1
        (copy / file).write_text(text.replace(right, wrong), "utf-8")
    return copy


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run ``tinyfcn kernels check``; gives its exit status and all that it said."""

    def run(*words: object) -> tuple[int, str]:
        status: object = 0
        try:
            status = cli.main(
                ["kernels", "check", *(w for word in words for w in str(word).split())]
            )
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return (1, said.out + status) if isinstance(status, str) else (status, said.out + said.err)

    return run


@pytest.mark.parametrize("mistake", PLANTED, ids=lambda mistake: mistake[0])
def test_a_mistake_that_few_sizes_show_is_found(check: Call, spoiled: Path, mistake) -> None:
    name, file, _, _, most, size, kind, line, usual = mistake
    status, said = check(name, "--sizes", most, "--kernels", spoiled)
    assert status == 1
    start = rf"{name}, float32, [A-Z ]+ = {size}: {kind}: {name}<float> \((\S+):(\d+)\)"
    found = re.match(start, said)
    assert found, said
    text = (spoiled / found[1]).read_text("utf-8").splitlines()[int(found[2]) - 1]
    assert text.strip().startswith(line)
    again = f"tinyfcn kernels check {name} --dtype float32 --size {size} --kernels {spoiled}"
    assert again in said
    assert check(*again.split()[3:])[0] == 1
    assert check(name, "--kernels", spoiled)[0] == usual


@pytest.mark.parametrize(
    "name, most, spans, count",
    [
        ("max_pool2d", "2", "N 1, C 2, H 1..2, W 1..2, KH 1..2,", 340),
        ("any_foreign", "1 2 3 4", "N 1, C 1..2, H 1..3, W 1..4, KH 2, KW 2,", 12),
        ("scatter_plane", "1", "PH 0, PW 0, DH 1, DW 1, CEIL 0..1, FOREIGN 0..1:", 4),
        ("gather_plane", "1", "CEIL 0..1, FOREIGN 0..1:", 4),
        ("gemm_1", "3", "M 1..3, N 1..3, K 1..3:", 27),
        ("gemm_2", "1 17 17", "M 1, N 1..17, K 1..17:", 289),
        ("gemm_3", "1 2 17", "M 1, N 1..2, K 1..17:", 34),
        ("gemm_4", "1 66 1", "M 1, N 1..66, K 1:", 66),
        ("gemm_6", "2 1 49", "M 1..2, N 1, K 1..49:", 98),
        ("gemm_7", "1 2 49", "M 1, N 1..2, K 1..49:", 98),
        ("conv1x1", "1 1 1 66 2 1 1", "W 1..66, OC 1..2, KERNEL 1, STRIDE 1:", 6),
        ("conv2d", "1 2 2 2 2 2 2", "N 1, C 1..2, H 1..2,", 64),
        ("conv2d_input_grad", "1 2 2 2 2 2 2", "N 1, C 1..2, H 1..2,", 64),
        ("conv2d_weight_grad", "1 2 2 2 2 2 2", "N 1, C 1..2, H 1..2,", 64),
    ],
)
def test_every_size_passes(check: Call, name: str, most: str, spans: str, count: int) -> None:
    status, said = check(name, "--sizes", most)
    assert status == 0
    assert spans in said
    assert re.search(
        rf": no fault, and the right result in every size \({count} in \d+ s\)\n$", said
    )


def test_shells_have_every_size_once() -> None:
    numbers = ranges("gemm_1", [2, 4, 3])
    found = []
    for n, total, shell in shells(numbers):
        sizes = list(shell)
        assert len(sizes) == total and all(max(size) == n for size in sizes)
        found += sizes
    assert sorted(found) == list(itertools.product(range(1, 3), range(1, 5), range(1, 4)))


def test_every_window_that_max_pooling_accepts_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[int, ...]] = []
    monkeypatch.setattr(every_size, "work", lambda _, name, size, *a, **k: ((), found.append(size)))
    monkeypatch.setattr(every_size, "exact", lambda *_, **__: [])
    monkeypatch.setattr(every_size, "verdicts", lambda *_: [])
    engine = Emulator("check")
    for _, _, shell in shells(ranges("max_pool2d", [2])):
        for size in shell:
            every_size.look(engine, "max_pool2d", size, "float32")
    accepted = set()
    axes = [range(1, 3)] * 6 + [range(3)] * 2 + [range(1, 3)] * 2 + [range(2)]
    for h, w, kh, kw, sh, sw, ph, pw, dh, dw, ceil in itertools.product(*axes):
        window = (kh, kw), (sh, sw), (ph, pw), (dh, dw)
        with contextlib.suppress(ValueError):
            # A kernel of one pixel has no dilation.
            used = pool_window("", (1, 1, h, w), *window, bool(ceil))
            accepted.add((1, 2, h, w, *itertools.chain(*used), ceil, 0))
    assert len(found) == len(set(found)) == 340
    assert set(found) == accepted


@pytest.mark.parametrize("seed", [None, 1, 2, 3, 4, 5])
def test_a_race_is_found_in_every_order_of_threads(spoiled: Path, seed: int | None) -> None:
    engine = Emulator("check", seed=seed, folder=spoiled)
    assert every_size.look(engine, "gemm_2", (1, 1, 16), "float32") == ""
    assert str(every_size.look(engine, "gemm_2", (1, 1, 17), "float32")).startswith("race: ")


def test_ctrl_c_tells_what_is_known(check: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(engine: object, name: str, size: tuple[int, ...], dtype: str) -> str:
        seen.append(size)
        if len(seen) > most:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(kernels, "look", look)
    most = 10
    status, said = check("gemm_2", "--sizes 5")
    assert status == 130
    assert said.startswith("stopped\ngemm_2, float32, M 1..2, N 1..2, K 1..2: no fault, and")
    assert "every size (8 in 0 s)" in said
    most = 10
    seen[:] = seen * 2
    assert check("gemm_2", "--sizes 5") == (
        130, "stopped\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("gemm_2 --sizes 0", "error: argument --sizes: expected an integer of at least 1, got '0'"),
        ("gemm_2 --sizes 1 2 3 4", "error: --sizes: expected N, or one for each of M N K, and"),
        ("gemm_2 --sizes 2 --size 1 2 3", "error: --sizes: expected N, or"),
        ("conv1x1 --sizes 2", "error: --sizes: conv1x1 has nothing to do in any of them"),
        ("max_pool2d --size 1 1 4 4 0", "error: --size: expected N C H W, each at least 1"),
    ],
)
def test_one_sentence_says_what_is_wrong(check: Call, words: str, sentence: str) -> None:
    status, said = check(words)
    assert status == 2
    assert sentence in said
