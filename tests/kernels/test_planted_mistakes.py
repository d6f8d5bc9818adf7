"""The drill of planted mistakes: its table fits the kernels, and it tells right from wrong."""

import runpy
from pathlib import Path

import pytest

from tinyfcn.backend.cuda.emulator.build import cache_folder
from tinyfcn.backend.cuda.kernels import folder

DRILL = runpy.run_path(str(Path(__file__).with_name("drill.py")))
NAMES = "ROOT", "MISTAKES", "Mistake", "drill", "plant"
ROOT, MISTAKES, Mistake, drill, plant = (DRILL[name] for name in NAMES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m.kernel}: {m.what}")
def test_every_text_stands_once_in_its_file_and_the_tests_exist(mistake):
    assert (ROOT / mistake.path).read_text("utf-8").count(mistake.text) == 1
    assert mistake.replacement != mistake.text
    for name in mistake.test_files:
        file, _, test = name.partition("[")[0].partition("::")
        assert f"def {test}" in (ROOT / file).read_text("utf-8")


def test_a_mistake_is_caught_and_what_is_none_is_not():
    cache = cache_folder()
    mistake = next(m for m in MISTAKES if m.what == "counter off by one")
    outcome = drill(mistake, cache)
    assert outcome.by == "wrong in order"
    assert outcome.test.startswith("test_dropout.py::test_bits_of_the_twin[in order")
    none = mistake._replace(replacement="(1 + i / 2)")
    assert drill(none, cache).by == ""


@pytest.mark.parametrize("text", ["i", "not there"])
def test_a_text_that_does_not_stand_there_once_is_rejected(tmp_path, text):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "few.cu").write_text("i = i;\n")
    with pytest.raises(ValueError, match=r"few\.cu, k, a mistake: expected once, found [02] times"):
        plant(Mistake("few.cu", text, "", "k", "a mistake"), tmp_path)


def test_what_caught_it():
    caught_by = DRILL["caught_by"]
    assert caught_by("test_a.py::test_b[seed 2-float32]", "AssertionError") == "seed order"
    assert caught_by("test_a.py::test_b[in order]", "…KernelError: f (a.cu:3)…") == "guard"
    assert caught_by("test_a.py::test_every_access_is_allowed", "…KernelError…") == "check build"
    assert caught_by("test_a.py::test_b[seed 1]", "…KernelError: … waits at a …") == "barrier"
    assert caught_by("test_a.py::test_b", "…BuildError: g++ does not accept a") == "g++"


def test_the_table_and_the_exit_status(capsys, monkeypatch):
    outcomes = [
        DRILL["Outcome"](MISTAKES[0], "guard", "test_a.py::test_b", 1.0),
        DRILL["Outcome"](MISTAKES[1], "", "", 1.0),
    ]
    main = DRILL["main"]
    monkeypatch.setitem(main.__globals__, "drills", lambda mistakes, jobs: outcomes[:jobs])
    assert main(["--only", "FOR_EACH"]) == 0
    assert main(["--only", "FOR_EACH", "--jobs", "2"]) == 1
    assert "NOT CAUGHT" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--only", "no such word"])


def test_the_environment_names_another_folder_of_kernels(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYFCN_KERNELS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"common\.cuh: looked for .*, as TINYFCN_KERNELS"):
        folder()
    (tmp_path / "common.cuh").write_text("")
    assert folder() == tmp_path
