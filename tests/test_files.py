"""Files are written whole, only where that costs no other file, under names that are free."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tinyfcn import files
from tinyfcn.files import Outputs, atomic_write
from tinyfcn.training.errors import sentence

MARK = "tinyfcn double"


def write(path: str | Path, content: bytes = b"new") -> None:
    with atomic_write(path) as file:
        file.write(content)


def fails(path: str | Path) -> str:
    """What a user is told; the folder of tests must be as it was."""
    before = sorted(map(str, Path().rglob("*")))
    with pytest.raises(OSError) as caught:
        write(path)
    assert sorted(map(str, Path().rglob("*"))) == before
    return sentence(caught.value)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- atomic_write ----


def listen(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


NOT_REGULAR: dict[str, Callable[[], object]] = {
    "to a device": lambda: None,
    "pipe": lambda: os.mkfifo("pipe"),
    "socket": lambda: listen("socket"),
    "folder": lambda: os.mkdir("folder"),
    "to a folder": lambda: os.symlink(".", "to a folder"),
    "": lambda: None,
    ".": lambda: None,
    "..": lambda: None,
    "new/": lambda: None,
}


@pytest.fixture
def device() -> Iterator[str]:
    """A device that a mistake could not replace, were it root's: no files can be made beside it."""
    ends = os.openpty()
    yield os.ttyname(ends[1])
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("name", [*NOT_REGULAR, "device"])
def test_only_regular_files_are_replaced(name: str, device: str) -> None:
    os.symlink(device, "to a device")
    name = device if name == "device" else name
    NOT_REGULAR.get(name, lambda: None)()
    kind = stat.S_IFMT(os.stat(name).st_mode) if os.path.exists(name) else None
    assert fails(name) == (
        f"{name or repr(name)}: expected the name of a file, but folders, devices and pipes are "
        "not replaced"
    )
    assert kind is None or stat.S_IFMT(os.stat(name).st_mode) == kind


def test_a_folder_that_is_missing_is_named() -> None:
    Path("file").touch()
    assert fails("none/at/all.npz") == "none/at: no such file or directory"
    assert fails("file/a.npz") == "file/a.npz: not a directory"


def test_a_link_stays_and_the_file_it_leads_to_is_replaced() -> None:
    Path("far").mkdir()
    Path("far/file").write_text("old")
    for link, target in ("link", "far/file"), ("second", "link"), ("dangling", "far/new"):
        os.symlink(target, link)
        write(link, link.encode())
        assert os.readlink(link) == target
        assert Path(target).read_text() == Path(link).read_text() == link
    os.symlink("loop", "loop")
    assert fails("loop") == "loop: too many levels of symbolic links"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_mode_is_kept(mode: int) -> None:
    Path("file").touch()
    Path("file").chmod(mode)
    write("file")
    assert stat.S_IMODE(os.stat("file").st_mode) == mode


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_mode_of_any_other(mask: int) -> None:
    former = os.umask(mask)
    try:
        write("file")
    finally:
        os.umask(former)
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o555])
def test_a_write_protected_file_stays(mode: int) -> None:
    Path("file").write_text("old")
    Path("file").chmod(mode)
    assert fails("file") == "file: the file is write-protected"
    assert Path("file").read_text() == "old"


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "日" * 85, "n" * 240])
def test_a_name_of_any_length_that_fits(name: str) -> None:
    write(name)
    with atomic_write(name):
        (temporary,) = {*os.listdir()} - {name}
        assert temporary.startswith(f".{name[0]}") and temporary.endswith(f".{os.getpid()}.tmp")
    assert os.listdir() == [name]
    assert fails(name + "n" * 16) == f"{name}{'n' * 16}: file name too long"


def test_what_is_left_of_a_dead_process_of_the_same_number_is_no_way_out() -> None:
    Path("theirs").write_text("old")
    os.symlink("theirs", f".file.{os.getpid()}.tmp")
    write("file")
    assert Path("theirs").read_text() == "old"
    assert sorted(os.listdir()) == ["file", "theirs"]


def test_the_folder_is_on_the_disk_too(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []

    def fsync(number: int) -> None:
        flushed.append(stat.S_ISDIR(os.fstat(number).st_mode))
        if flushed[-1]:
            raise OSError("not on this system")

    monkeypatch.setattr(os, "fsync", fsync)
    write("file")
    assert flushed == [False, True]


# ---- Outputs ----


def used(outputs: Outputs, stem: str, *endings: str) -> list[str]:
    """The names that are free, and now bear the mark."""
    endings = endings or (".png",)
    paths, note = outputs.free("out", stem, *endings)
    for path in paths:
        write(path, b"..." + MARK.encode())
    if len(stem) < 200:
        assert bool(note) == (paths[0].name != stem + endings[0])
    return [path.name for path in paths]


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("theirs"),
    "an empty one": lambda path: path.touch(),
    "a mark in its middle": lambda path: path.write_bytes(
        b"." * 5000 + MARK.encode() + b"." * 5000
    ),
    "the mark of another command": lambda path: path.write_bytes(b"tinyfcn halve"),
    "a result that is write-protected": lambda path: [
        path.write_bytes(MARK.encode()),
        path.chmod(0o444),
    ],
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to another file": lambda path: [Path("b").touch(), path.symlink_to("../b")],
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_stays(kind: str) -> None:
    Path("out").mkdir()
    FOREIGN[kind](Path("out/cat.png"))
    before = os.lstat("out/cat.png")
    for _ in range(3):  # the same command again makes no more files
        assert used(Outputs([], MARK), "cat") == ["cat-2.png"]
        assert used(Outputs([], MARK), "cat", "_overlay.png") == ["cat_overlay.png"]
    assert os.lstat("out/cat.png")[:7] == before[:7]
    assert Outputs([], MARK).free("out", "cat", ".png")[1] == "; cat.png is taken"


@pytest.mark.parametrize("place", [b"%s...", b"...%s", b"..." * 9000 + b"%s"])
def test_what_an_earlier_run_left_is_replaced(place: bytes) -> None:
    Path("out").mkdir()
    Path("out/cat.png").write_bytes(place % MARK.encode())
    assert used(Outputs([], "another", MARK), "cat") == ["cat.png"]


def test_inputs_stay_under_each_of_their_names() -> None:
    for folder in "out", "elsewhere":
        Path(folder).mkdir()
    Path("elsewhere/a").write_bytes(MARK.encode())  # an earlier result, now an input
    os.symlink("../elsewhere/a", "out/link.png")
    os.link("elsewhere/a", "out/hard.png")
    os.symlink("elsewhere", "also")
    outputs = Outputs(["also/a", "none"], MARK)
    for stem in "link", "hard":
        assert used(outputs, stem) == [f"{stem}-2.png"]
    assert used(outputs, "none") == ["none.png"]
    assert Path("elsewhere/a").read_bytes() == MARK.encode()


@pytest.mark.parametrize("stems", [
    ("cat", "cat", "cat"), ("cat", "Cat", "CAT"), ("a", "a_overlay"), ("a_overlay", "a"),
    *(tuple(unicodedata.normalize(form, "Käthe.") for form in forms)
      for forms in itertools.permutations(["NFC", "NFD"])),
    ("cat", "cat-2", "cat"), ("straße", "STRASSE"), ("x" * 300, "x" * 299), ("", "", "."),
])  # fmt: skip
def test_no_two_results_of_a_run_share_a_name(stems: tuple[str, ...]) -> None:
    Path("out").mkdir()
    runs = []
    for _ in range(2):
        outputs = Outputs([], MARK)
        runs.append([used(outputs, stem, ".png", "_overlay.png") for stem in stems])
    assert runs[0] == runs[1]
    names = [name for pair in runs[0] for name in pair]
    alike = {unicodedata.normalize("NFC", name.casefold()) for name in names}
    assert len(alike) == len(names) == 2 * len(stems)
    assert sorted(os.listdir("out")) == sorted(names)


def test_many_of_one_name_are_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, tried = Outputs([], MARK), []
    monkeypatch.setattr(files, "shortened", lambda name, more: tried.append(name) or name)
    for _ in range(300):
        outputs.free("out", "image", ".png")
    assert len(tried) == 2 * 300
