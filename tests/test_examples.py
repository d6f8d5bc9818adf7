"""The examples as a user runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn import cli, models, visualize
from tinyfcn.data import CAFFE, SYNTHETIC_CLASSES, VOC_PALETTE, class_palette, write_voc_tree
from tinyfcn.training import checkpoint, datasets
from tinyfcn.training.run_folder import RunFolder
from tinyfcn.weights import safetensors

ROOT = Path(__file__).resolve().parents[1]
TRAIN, PREDICT = ROOT / "examples" / "train_voc.py", ROOT / "examples" / "predict.py"
SMALL = ["--width", "0.015625", "--batch-size", "4", "--warmup", "0"]

Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return write_voc_tree(folder, train=8, val=4, size=48, diameter=(16.0, 30.0))


@pytest.fixture(scope="module")
def trained(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made by the very command a user types."""
    out = tmp_path_factory.mktemp("runs") / "first"
    command = [sys.executable, str(TRAIN), "--data-root", str(tree), "--out", str(out), *SMALL]
    done = subprocess.run(
        [*command, "--epochs", "2", "--crop", "40", "--jitter", "0.2", "--class-weights",
         "median-frequency", "--accumulate", "2", "--augment", "rotate,elastic,turns,blur,noise"],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (out / "said.txt").write_text(done.stdout)
    return out


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_run_tells_its_whole_story(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "log.csv", "predictions.png", "last.npz", "best.npz"} <= names
    assert {"report.html", "README.md"} <= names
    rows = RunFolder(trained).read_log()
    assert [row["epoch"] for row in rows] == [1, 2]
    best = max(row["mean_iu"] for row in rows)
    *_, note, last_line = (trained / "said.txt").read_text().splitlines()
    assert last_line.startswith(f"mean IU {best:.3f} ")
    assert str(trained) in last_line
    # So few steps tell little apart, and it is said that one class for all would be as good.
    assert best <= 1 / 10 and "one class for every pixel" in note


def test_evaluate_repeats_the_score_and_writes_nothing(
    trained: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    best = max(row["mean_iu"] for row in RunFolder(trained).read_log())

    def reject(**where: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", reject)  # a folder that may only be read
    status, said, _ = call(TRAIN, "--evaluate", trained / "best.npz")
    assert status == 0
    assert said.splitlines()[-1].startswith(f"mean IU {best:.3f} ")


def test_the_command_evaluate_says_the_same(
    trained: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(trained / "best.npz")
    said = []
    for options in ([], ["--data-root", str(tree), "--val-split", "val"], ["--val-split", "train"]):
        assert cli.main(["evaluate", *options, path]) == 0
        said.append(capsys.readouterr().out.splitlines()[-1])
    best = max(row["mean_iu"] for row in RunFolder(trained).read_log())
    assert said[0] == said[1] == f"mean IU {best:.3f} of {path} on 4 images"
    assert said[2].endswith("on 8 images")


def test_staged_training(
    trained: Path, tree: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    out = tmp_path / "32s"
    common = ["--data-root", tree, *SMALL, "--iterations", 1]
    assert call(TRAIN, *common, "--model", "fcn32s", "--out", out)[0] == 0
    status, said, _ = call(
        TRAIN, *common, "--model", "fcn16s", "--out", tmp_path / "16s",
        "--init-from", out / "last.npz",
    )  # fmt: skip
    assert status == 0
    assert "arrays copied; new: score_pool4.weight" in said


def test_the_published_settings_run(tree: Path, tmp_path: Path, call: Callable[..., Said]) -> None:
    status, said, _ = call(
        TRAIN, "--preset", "paper", "--data-root", tree, "--out", tmp_path / "run",
        "--width", "0.015625", "--iterations", 2,
    )  # fmt: skip
    assert status == 0
    assert "geometry reference" in said


NEWCOMERS = [name for name in models.names() if not models.is_classifier(name)]


@pytest.mark.parametrize("network", [*NEWCOMERS, "unet --geometry reference"])
def test_every_network_is_trained_scored_and_used(
    network: str,
    tree: Path,
    tmp_path: Path,
    call: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visualize, "plot_curves", lambda rows: [Image.new("L", (1, 1))] * 2)
    run, image = tmp_path / "run", tree / "JPEGImages" / "val_00000.jpg"
    # Of 8 images in batches of 7, one is left over.
    new = ["--data-root", tree, "--out", run, "--width", "0.03125", "--batch-size", 7]
    if network == "sliding_window":  # which looks at a window around each pixel
        new += ["--crop", 16]
    for command in (
        [TRAIN, "--model", *network.split(), *new, "--epochs", 1],
        [TRAIN, "--out", run, "--resume", "--epochs", 2],
        [TRAIN, "--out", run, "--evaluate"],
        [PREDICT, run / "best.npz", image, "--out", tmp_path],
    ):
        status, said, complaint = call(*command)
        assert status == 0, complaint
    assert [row["iteration"] for row in RunFolder(run).read_log()] == [1, 2]
    with Image.open(tmp_path / "val_00000.png") as mask:
        assert mask.size == (48, 48)


def test_one_image_is_too_few_to_normalize_over(
    tree: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    new = ["--data-root", tree, "--out", tmp_path, *SMALL, "--batch-size", 1]
    status, _, complaint = call(TRAIN, *new, "--model", "pspnet")
    assert status == 2
    assert "got x of shape (1, " in complaint and "; a larger --batch-size helps" in complaint
    assert "Traceback" not in complaint


def test_synthetic_scenes_lie_in_the_run_folder(
    tmp_path: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "SCENES_TO_SCORE", 2)
    status, _, _ = call(TRAIN, "--scenes", 4, "--iterations", 1, "--out", tmp_path, *SMALL)
    assert status == 0
    assert len(list((tmp_path / "scenes" / "JPEGImages").iterdir())) == 6


def test_ctrl_c_saves_and_the_run_goes_on(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, str(TRAIN), "--data-root", str(tree), "--out", str(out), *SMALL]
    process = subprocess.Popen(
        [*command, "--epochs", "1000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (out / "last.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume goes on from there" in said
    assert "Traceback" not in said
    stopped = checkpoint.load(out / "last.npz")["progress"]["iteration"]
    done = subprocess.run(
        [*command, "--resume", "--iterations", str(stopped + 1)],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert checkpoint.load(out / "last.npz")["progress"]["iteration"] == stopped + 1


def test_predict_takes_images_of_any_size(
    trained: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    random = np.random.default_rng(0)
    for name, size in (("odd.png", (37, 61)), ("tiny.jpg", (1, 2)), ("b/odd.png", (50, 20))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
    images = [tmp_path / name for name in ("odd.png", "tiny.jpg", "b/odd.png")]
    status, _, _ = call(PREDICT, trained / "best.npz", *images, "--out", tmp_path / "out")
    assert status == 0
    for name, size in (("odd", (61, 37)), ("tiny", (2, 1)), ("odd-2", (20, 50))):
        with Image.open(tmp_path / "out" / f"{name}.png") as mask:
            assert (mask.mode, mask.size) == ("P", size)
            assert mask.getpalette() == class_palette(SYNTHETIC_CLASSES).ravel().tolist()
            assert np.asarray(mask).max() < 10
        with Image.open(tmp_path / "out" / f"{name}_overlay.png") as picture:
            assert picture.mode == "RGB"


def test_predict_with_published_weights(tmp_path: Path, call: Callable[..., Said]) -> None:
    model = models.create("fcn8s", num_classes=3, width=1 / 64)
    about = {
        "model": "fcn8s", "classes": ["a", "b", "c"], "arguments": {"width": 1 / 64},
        "preprocessing": CAFFE.to_dict(),
    }  # fmt: skip
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"".join(safetensors.dump(model.state_dict(), None, about)))
    Image.new("RGB", (20, 30)).save(tmp_path / "image.png")
    command = [tmp_path / "image.png", "--out", tmp_path / "out", "--weights", path]
    status, said, _ = call(PREDICT, *command, "--model", "fcn8s")
    assert status == 0
    assert "fcn8s for 3 classes" in said
    assert "BGR" in said
    assert (tmp_path / "out" / "image.png").exists()
    assert call(PREDICT, *command)[0] == 0  # the file says which model it is for
    assert call(PREDICT, path, *command[:-2])[0] == 0
    np.savez(tmp_path / "b.npz", w=np.ones(3))
    for arguments, words in (
        ([*command, "--model", "fcn16s"], "is for fcn8s for 3 classes"),
        ([*command[:-1], tmp_path / "b.npz"], "give --model"),
        ([*command[:-1], tmp_path / "b.npz", "--model", "vgg"], "vgg"),
    ):
        status, _, complaint = call(PREDICT, *arguments)
        assert status == 2
        assert complaint.startswith("error: ")
        assert words in complaint


def test_predict_rejects_what_it_cannot_use(tmp_path: Path, call: Callable[..., Said]) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "image.png")
    (tmp_path / "a.txt").write_text("nothing of the kind")
    (tmp_path / "empty.pth").touch()
    with zipfile.ZipFile(tmp_path / "whole.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02ctorchvision.models.vgg\nVGG\n)\x81.")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:60])
    state = models.vgg11(num_classes=3, width=1 / 64).state_dict()
    about = {
        "model": "vgg11", "classes": ["a", "b", "c"], "arguments": {"width": 1 / 64},
        "preprocessing": CAFFE.to_dict(),
    }  # fmt: skip
    (tmp_path / "vgg11.safetensors").write_bytes(b"".join(safetensors.dump(state, None, about)))
    (tmp_path / "arrays.pth").write_bytes(b"".join(safetensors.dump(state)))
    fcn = ["--model", "fcn8s"]
    for file, arguments, words in (
        ("none.pth", fcn, "none.pth: there is no such file"),
        ("a.txt", fcn, "a.txt: not a format of weights"),
        ("empty.pth", fcn, "empty.pth: the file is empty"),
        ("whole.pth", fcn, "whole.pth: it asks for torchvision.models.vgg.VGG"),
        ("cut.pth", fcn, "cut.pth: truncated"),
        ("vgg11.safetensors", [], "vgg11 labels whole images, not their pixels"),
        ("arrays.pth", fcn, "arrays.pth does not hold a fcn8s: other shapes"),
        ("arrays.pth", ["--model", "unet"], "arrays.pth does not hold a unet: none of its arrays"),
        ("arrays.pth", ["--model", "fcn8"], "'fcn8'"),
        ("arrays.pth", ["--model", "unet", "--backbone", "vgg11"], "unet does not take backbone"),
    ):
        images = [tmp_path / "image.png", "--out", tmp_path / "out"]
        status, said, complaint = call(PREDICT, "--weights", tmp_path / file, *arguments, *images)
        assert (status, said) == (2, "")
        assert complaint.startswith("error: ")
        assert words in complaint
        assert complaint.count("\n") == 1
    for arguments, words in (
        ([tmp_path / "arrays.pth", tmp_path / "image.png"], "which model it is for: give --model"),
        ([tmp_path / "image.png"], "name a checkpoint, then images"),
        (["--weights", tmp_path / "arrays.pth"], "required: FILE"),
    ):
        status, _, complaint = call(PREDICT, *arguments, "--out", tmp_path / "out")
        assert status == 2
        assert complaint.startswith("error: ")
        assert words in complaint
    assert not (tmp_path / "out").exists()


def test_train_rejects_weights_before_it_draws(tmp_path: Path, call: Callable[..., Said]) -> None:
    (tmp_path / "a.txt").write_text("nothing of the kind")
    for name, words in (("a.txt", "not a format"), ("none.pth", "no such file")):
        out = tmp_path / "out"
        status, said, complaint = call(TRAIN, "--pretrained", tmp_path / name, "--out", out)
        assert (status, said) == (2, "")
        assert words in complaint
        assert not out.exists()


def test_predict_goes_on_past_a_bad_image(
    trained: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no image")
    status, said, complaint = call(
        PREDICT, trained / "best.npz", tmp_path / "bad.png", tmp_path / "none.png",
        tmp_path / "good.png", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    assert "good.png" in said
    assert (tmp_path / "out" / "good.png").exists()
    assert "bad.png" in complaint
    assert "none.png" in complaint
    assert "2 of 3 images" in complaint


def broken(tree: Path, tmp_path: Path, change: Callable[[Path], object]) -> Path:
    """A copy of the tree that ``change`` has done something to."""
    change(Path(shutil.copytree(tree, tmp_path / "data")))
    return tmp_path / "data"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def relabel(path: Path, label: int, size: int = 48) -> None:
    mask = Image.fromarray(np.full((size, size), label, np.uint8))
    mask.putpalette(VOC_PALETTE.tobytes())
    mask.save(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: (d / "ImageSets/Segmentation/val.txt").unlink(), ["val.txt", "no such list"]),
        (lambda d: (d / "ImageSets/Segmentation/val.txt").write_text(""), ["val.txt", "empty"]),
        (lambda d: (d / "JPEGImages/train_00003.jpg").unlink(), ["train_00003"]),
        (lambda d: (d / "SegmentationClass/val_00001.png").unlink(), ["val_00001"]),
        (lambda d: cut(d / "JPEGImages/train_00003.jpg"), ["train_00003.jpg", "truncated"]),
        (lambda d: cut(d / "JPEGImages/val_00001.jpg"), ["val_00001.jpg", "truncated"]),
        (lambda d: relabel(d / "SegmentationClass/val_00001.png", 77), ["val_00001.png", "77"]),
        (lambda d: relabel(d / "SegmentationClass/train_00003.png", 77), ["train_00003", "77"]),
        (lambda d: relabel(d / "SegmentationClass/train_00003.png", 1, 40), ["train_00003", "40"]),
        (lambda d: [relabel(mask, 255) for mask in d.rglob("val_*.png")], ["no pixel", "void"]),
    ],
)
def test_bad_data_is_one_clear_error(
    tree: Path,
    tmp_path: Path,
    call: Callable[..., Said],
    change: Callable[[Path], object],
    words: list[str],
) -> None:
    data = broken(tree, tmp_path, change)
    status, _, said = call(
        TRAIN, "--data-root", data, "--out", tmp_path / "run", "--epochs", 1, *SMALL
    )
    assert status == 2
    complaint = said[said.index("error: ") :]
    assert complaint.count("\n") == 1
    for word in words:
        assert word in complaint


def test_bad_options_are_one_clear_error(
    trained: Path, tree: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    (tmp_path / "file").write_text("")
    checkpoint.save(tmp_path / "cut.npz", {"model": {"w": np.ones(100)}})
    cut(tmp_path / "cut.npz")
    new = ["--data-root", tree, "--out", tmp_path / "run", *SMALL]
    for command, words in (
        ([TRAIN, "--data-root", tmp_path / "none", "--out", tmp_path / "run"], "none"),
        ([TRAIN, "--data-root", tree, "--out", tmp_path / "file" / "run"], "run folder"),
        ([TRAIN, *new, "--out", trained], "holds a run already"),
        ([TRAIN, *new, "--backbone", "vgg7"], "vgg7"),
        ([TRAIN, *new, "--width", "0.001"], "width"),
        ([TRAIN, *new, "--backend", "abacus"], "abacus"),
        ([TRAIN, *new, "--init-from", tmp_path / "cut.npz"], "truncated"),
        ([TRAIN, "--resume", tmp_path / "cut.npz"], "truncated"),
        ([TRAIN, "--resume", trained / "last.npz", "--classes", "a,b"], "2 classes (a, b)"),
        ([TRAIN, "--evaluate", trained / "log.csv"], "log.csv"),
        ([PREDICT, tmp_path / "none.npz", "x.jpg"], "none.npz"),
        ([PREDICT, tmp_path / "cut.npz", "x.jpg"], "truncated"),
        ([PREDICT, trained / "best.npz", "x.jpg", "--backend", "abacus"], "abacus"),
    ):
        status, _, said = call(*command)
        complaint = said[said.index("error: ") :]
        assert (status, complaint.count("\n")) == (2, 1), complaint
        assert words in complaint
