"""Where compiled kernels are kept: nothing that another user could have written is ever loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tinyfcn.backend.cuda.emulator import BuildError, Emulator, build

# Loaded, it leaves a trace.
PLANTED = """#include <cstdio>
__attribute__((constructor)) static void run() {{ std::fclose(std::fopen("{trace}", "w")); }}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with a kernel, one with what was compiled of it, and a library of somebody else."""
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "one.cu").write_text("__global__ void one(int* y) { y[0] = 1; }\n")
    (folder / "planted.cpp").write_text(PLANTED.format(trace=folder / "trace"))
    command = [build.COMPILER, "-shared", "-fPIC", "planted.cpp", "-o", "planted.so"]
    subprocess.run(command, cwd=folder, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYFCN_CACHE", str(folder / "cache"))
        run(folder)
    return folder


@pytest.fixture
def kernels(compiled, tmp_path, monkeypatch):
    """The same with a cache of the test's own."""
    shutil.copytree(compiled / "cache", tmp_path / "cache")
    monkeypatch.setenv("TINYFCN_CACHE", str(tmp_path / "cache"))
    yield compiled
    assert not (compiled / "trace").exists(), "the planted library was loaded"


def run(folder: Path) -> Path:
    """Run the kernel; the library that did."""
    emulator, y = Emulator(folder=folder), np.zeros(1, np.int32)
    emulator.run("one.cu", "one", (1, 1, 1), (1, 1, 1), (y,))
    assert y[0] == 1
    return emulator.library("one.cu").path


def found(ending: str) -> Path:
    return next(Path(os.environ["TINYFCN_CACHE"]).glob(f"one-*{ending}"))


def test_a_whole_library_is_not_compiled_again(kernels):
    before = found(".so").stat().st_mtime_ns
    assert run(kernels).stat().st_mtime_ns == before
    assert run(kernels).stat().st_mode & 0o777 == 0o700


DAMAGE = {
    "cut": lambda path, planted: os.truncate(path, path.stat().st_size // 2),
    "cut in its last page": lambda path, planted: os.truncate(path, path.stat().st_size - 40),
    "empty": lambda path, planted: os.truncate(path, 0),
    "one bit": lambda path, planted: flip(path),
    "no library": lambda path, planted: path.write_bytes(b"\x7fELF" * 1000),
    "another library": lambda path, planted: path.write_bytes(planted.read_bytes()),
    "a link": lambda path, planted: (path.unlink(), path.symlink_to(planted)),
    "a dead link": lambda path, planted: (path.unlink(), path.symlink_to("nowhere")),
    "a pipe": lambda path, planted: (path.unlink(), os.mkfifo(path)),
    "open to the group": lambda path, planted: path.chmod(0o770),
    "open to all": lambda path, planted: path.chmod(0o707),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("ending", [".so", ".o"])
def test_what_is_damaged_or_open_to_others_is_compiled_anew(kernels, damage, ending):
    if ending == ".o":
        found(".so").unlink()
    DAMAGE[damage](found(ending), kernels / "planted.so")
    library = run(kernels)
    for path in (library, found(".o")):
        assert not path.is_symlink() and path.stat().st_mode & 0o777 == 0o700
        assert build._usable(path)


def test_a_library_that_another_user_wrote_is_compiled_anew(kernels, monkeypatch):
    lstat, theirs = Path.lstat, [found(ending).stat().st_ino for ending in (".so", ".o")]

    def of_a_stranger(path):
        state = lstat(path)
        return os.stat_result([*state[:4], 12345, *state[5:]]) if state[1] in theirs else state

    monkeypatch.setattr(Path, "lstat", of_a_stranger)
    assert run(kernels).stat().st_ino not in theirs


OPEN = {
    "to all": lambda folder: folder.chmod(0o777),
    "to the group": lambda folder: folder.chmod(0o770),
    "to all, though not to remove": lambda folder: folder.chmod(0o1777),
    "above it": lambda folder: folder.parent.chmod(0o777),
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
    "behind a link": lambda folder: (
        folder.rename(folder.with_name("real")),
        folder.symlink_to("real"),
        folder.chmod(0o777),
    ),
}


@pytest.mark.parametrize("how", OPEN)
@pytest.mark.parametrize("variable", ["TINYFCN_CACHE", "XDG_CACHE_HOME"])
def test_a_folder_that_others_can_write_to_is_refused(
    kernels, tmp_path, monkeypatch, how, variable
):
    if variable == "XDG_CACHE_HOME":
        (tmp_path / "cache").rename(tmp_path / "tinyfcn")
        monkeypatch.delenv("TINYFCN_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / ("cache" if variable == "TINYFCN_CACHE" else "tinyfcn")
    OPEN[how](folder)
    if how == "a file" and variable == "XDG_CACHE_HOME":
        return  # nothing there that could be run: a temporary folder is taken
    with pytest.raises(BuildError, match=r"emulator: .*(chmod go-w|cannot write).*TINYFCN_CACHE"):
        run(kernels)


def test_a_folder_of_another_user_is_refused(kernels, monkeypatch):
    if os.getuid():
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    else:  # root's is trusted
        os.chown(os.environ["TINYFCN_CACHE"], 12345, -1)
    with pytest.raises(BuildError, match=r"another user owns .*cache, or .*set TINYFCN_CACHE"):
        run(kernels)


@pytest.mark.parametrize(
    ("home", "cache"), [("/dev/null", None), (None, "/dev/null"), ("relative\udcff", "")]
)
def test_a_user_without_a_folder_gets_one_that_is_new_and_private(
    tmp_path, monkeypatch, home, cache
):
    for variable, value in (("HOME", home), ("XDG_CACHE_HOME", cache), ("TINYFCN_CACHE", None)):
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    monkeypatch.setattr(build.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    build._temporary_folder.cache_clear()
    (tmp_path / f"tinyfcn-{os.getuid()}").symlink_to("/")  # what could be guessed
    folder = build.cache_folder()
    assert folder.is_relative_to(tmp_path) and folder.stat().st_mode & 0o777 == 0o700
    assert build.cache_folder() == folder
    build._temporary_folder.cache_clear()


COMPILERS = {
    "missing": (None, "which is not installed"),
    "fails": ("#!/bin/sh\necho no licence >&2; exit 3\n", r"does not accept .*\nno licence"),
    "says bytes": ("#!/bin/sh\nprintf '\\377' >&2; exit 1\n", "does not accept"),
    "is no program": ("garbage", r"but: .*Exec format error"),
    "does not end": ("#!/bin/sh\nexec sleep 60\n", r"but: .*timed out after 0.1 seconds"),
}


@pytest.mark.parametrize("what", COMPILERS)
def test_a_compiler_that_cannot_be_used_is_said_in_our_words(tmp_path, kernels, monkeypatch, what):
    text, words = COMPILERS[what]
    program = tmp_path / "g++"
    if text is not None:
        program.write_text(text)
        program.chmod(0o700)
    monkeypatch.setattr(build, "COMPILER", str(program))
    monkeypatch.setattr(build, "LONGEST", 0.1 if "sleep" in str(text) else 60)
    build.compiler_version.cache_clear()
    try:
        with pytest.raises(BuildError, match=rf"(?s)g\+\+.*{words}"):
            run(kernels)
    finally:
        build.compiler_version.cache_clear()
