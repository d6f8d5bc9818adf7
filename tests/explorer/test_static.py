"""The explorer as a folder."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest

from tinyfcn import cli, explorer
from tinyfcn.explorer import static
from tinyfcn.explorer.web import FILES

FEW = [{"kh": "2"}, {"sh": None}]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few answers are recorded."""
    for room in explorer.ROOMS:
        module = explorer.room(room)
        some = FEW if room == "convolution" else [*module.states()][:2]
        monkeypatch.setattr(module, "states", lambda some=some: iter(some))


def test_a_folder_with_answers(tmp_path, capsys):
    out = tmp_path / "a" / "pages"
    assert not cli.main(["explore", "--static", str(out)])
    assert capsys.readouterr().out.startswith("convolution: 2 answers\n")
    assert {p.name for p in out.iterdir()} == {
        *FILES, *(f"answers-{room}.js" for room in explorer.ROOMS)
    }  # fmt: skip
    script = (out / "answers-convolution.js").read_text("ascii")
    packed = re.fullmatch(r'"use strict";\npacked\["convolution"\] = "(.*)";\n', script)[1]
    found = json.loads(gzip.decompress(base64.b64decode(packed)))
    answers = {
        address: {name: found["parts"][name][i] for name, i in parts.items()}
        for address, parts in found["of"].items()
    }
    room = explorer.room("convolution")
    expected = {"kh=2": room.answer({"kh": "2"}), "": room.answer({})}
    assert answers == json.loads(json.dumps(expected))
    assert "RECORDED = true" in (out / "recorded.js").read_text()
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    static.write(out)  # what it wrote itself it replaces, by the same bytes
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first
    assert [p.name for p in out.parent.iterdir()] == ["pages"]


def test_an_empty_folder_and_a_link(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    static.write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "empty/index.html").exists()


@pytest.mark.parametrize("name", ["note.txt", "index.html", ".hidden", "style.css"])
def test_the_files_of_others_stay(tmp_path, name, capsys):
    (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit) as ended:
        cli.main(["explore", "--static", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and str(tmp_path) in said and f"but it holds {name}" in said
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_beside_those_written_stays(tmp_path):
    static.write(tmp_path / "pages")
    (tmp_path / "pages/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        static.write(tmp_path / "pages")
    assert (tmp_path / "pages/notes.txt").read_text() == "mine"


def test_a_file_in_its_place_stays(tmp_path):
    (tmp_path / "pages").write_text("mine")
    with pytest.raises(FileExistsError):
        static.write(tmp_path / "pages")
    assert (tmp_path / "pages").read_text() == "mine"


def test_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(room):
        raise OSError(28, "No space left on device")

    static.write(tmp_path / "pages")
    first = sorted((tmp_path / "pages").iterdir())
    monkeypatch.setattr(static, "record", full)
    for name in ("pages", "new"):
        with pytest.raises(OSError, match="No space"):
            static.write(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["pages"]
    assert sorted((tmp_path / "pages").iterdir()) == first
