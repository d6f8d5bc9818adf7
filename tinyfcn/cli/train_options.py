"""The options of ``tinyfcn train``, and where the value of each comes from.

An option that is not given is that of the checkpoint of ``--resume`` or ``--evaluate``, else of the
preset, else the one in ``OPTIONS``, which ``option_table.py`` holds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import reprlib
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyfcn import models, parallel, weights
from tinyfcn.cli.class_options import classes_of
from tinyfcn.cli.errors import UsageError, flag, usage_errors
from tinyfcn.cli.option_table import CHECKPOINTS, DEFAULTS, MOMENTUM, OPTIONS, Option, add_option
from tinyfcn.cli.parser import CompactHelp, Parser
from tinyfcn.files import bears, numbered
from tinyfcn.models.registry import entry
from tinyfcn.parallel import launch
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.lock import locked
from tinyfcn.training.run_folder import CHECKPOINTS as NEWEST
from tinyfcn.training.run_folder import CONFIG_MARK, RECORDS, RunFolder, holds_run


def _as_typed(model: str, options: Mapping[str, Any]) -> str:
    """What stands behind ``--model`` for a network, such as ``fcn8s --at-once``."""
    backbone = options.get("backbone", DEFAULTS["backbone"])
    if backbone != DEFAULTS["backbone"]:
        model += f" --backbone {backbone}"
    return f"{model} --at-once" if options.get("at_once") else model


# Published settings, by the options that name the network.
PAPER: dict[str, Mapping[str, Any]] = {
    _as_typed(name, preset): preset for name in models.names() for preset in entry(name).presets
}

EXCLUSIVE = [
    ("epochs", "iterations"), ("init_from", "resume"), ("init_from", "pretrained"),
    ("classes", "mask_values"),
]  # fmt: skip
# A checkpoint does not keep these: they say where a run is, not what it is.
NOT_SAVED = (*CHECKPOINTS, "out", "init_from", "pretrained")


def parse_options(arguments: Sequence[str], text: str = "") -> argparse.Namespace:
    """The options of a training, as :func:`complete` gives them.

    Args:
        arguments: the command line.
        text: for ``--help``, which leaves out what few need.

    Raises:
        SystemExit: for ``--help``, ``--help-all`` or options that cannot be parsed.
        UsageError, CheckpointError, FileNotFoundError: with one sentence for the user.
    """
    parser = Parser(
        text,
        prog="tinyfcn train",
        usage="%(prog)s [FOLDER] [options]",
        argument_default=argparse.SUPPRESS,
        formatter_class=CompactHelp,
        add_help=False,
    )
    short = not {"-h", "--help"}.isdisjoint(arguments)
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        if title == "data":
            about = options[0].help  # that of --data-root
            group.add_argument("folder", nargs="?", metavar="FOLDER", help=about)
        for option in options:
            add_option(group, option, not short)
    group.add_argument("--help", "-h", action="help", help="the usual options")
    group.add_argument("--help-all", action="help", help="all options")
    return complete(vars(parser.parse(arguments)))


def complete(given: dict[str, Any]) -> argparse.Namespace:
    """The options that were given, and the values of all others.

    Besides them, ``values`` holds them all by name, ``given`` the names of those that were given;
    ``classes_given`` what is said of the classes, ``state`` what is in the checkpoint of
    ``--resume`` or ``--evaluate``, and ``weights`` in the file of ``--pretrained`` or
    ``--init-from``, or None.
    """
    if (folder := given.pop("folder", None)) and given.setdefault("data_root", folder) != folder:
        raise UsageError(f"{folder} and --data-root are both folders of data; give one of them")
    for one, other in EXCLUSIVE:
        if one in given and other in given:
            raise UsageError(f"{flag(one)} and {flag(other)} exclude each other; give one of them")

    state, saved = None, {}
    goal = next((name for name in CHECKPOINTS if name in given), None)
    if goal is not None:
        named = given[goal] or given.get("resume")
        if not named and "out" not in given:
            raise UsageError(f"--{goal} needs a checkpoint, or --out with one in it")
        path = Path(named or given["out"])
        if path.is_dir() or not named:
            path /= CHECKPOINTS[goal]
        path, state = _load(path, goal == "resume")
        saved = _saved(state.get("arguments", {}), path)
        unset = dict.fromkeys(CHECKPOINTS)
        given = {"out": str(path.parent), **given, **unset, goal: str(path)}
        began = saved.get("range")
        if goal == "resume" and given.get("range", began) != began:
            raise UsageError(f"--range: the run began with {began or 'none'}, and keeps it")

    values = _merged(saved, given)
    if values["preset"] == "paper":
        values = _merged(_paper(values, {**saved, **given}), saved, given)
    if values["momentum"] is None:
        values["momentum"] = MOMENTUM[values["optimizer"]]
    if "classes" in given:
        values["mask_values"] = None
    for name in ("classes", "sbd_root", "mask_values", "void", "val_share"):
        if name in given and values["data_root"] is None:
            raise UsageError(f"{flag(name)} goes with --data-root")
    if "scenes" in given and values["data_root"] is not None:
        raise UsageError("--scenes are drawn where there is no --data-root; give one of them")
    if values["loss_reduction"] == "sum" and "dice" in values["loss"]:
        raise UsageError("--loss dice is of images, no sum of pixels: give --loss-reduction mean")
    if values["out"] is None:
        free = (p for p in numbered(f"runs/{values['model']}") if not _why_not_free(p))
        values["out"] = parallel.group().from_rank_0(lambda: next(free))
    if values["freeze"] and state is None and not (values["pretrained"] or values["init_from"]):
        raise UsageError("--freeze keeps what is learnt: give --pretrained or --init-from with it")
    _check_ranks(values)

    file = None
    for name in ("pretrained", "init_from"):
        if values[name] and state is None:
            with usage_errors(flag(name)):
                file = weights.read(values[name])
    return argparse.Namespace(
        **values, values=values, given=sorted(given), state=state, weights=file,
        classes_given=classes_of(values),
    )  # fmt: skip


def _check_ranks(values: Mapping[str, Any]) -> None:
    """Whether there is something to do for all of them."""
    size, parts = parallel.group().size, values["same_bits"]
    if values["sync_batch_norm"] and parts:
        raise UsageError("--sync-batch-norm and --same-bits exclude each other; give one of them")
    if (parts or size) < size:
        raise UsageError(f"--same-bits {parts} for {size} processes; give at least {size}")
    if (images := values["batch_size"]) < (parts or size):
        raise UsageError(f"--batch-size {images} cannot be cut into {parts or size} parts")


def _load(path: Path, older: bool) -> tuple[Path, dict[str, Any]]:
    """The checkpoint; with ``older``, where a run's last is damaged or missing, the one before."""
    try:
        return path, checkpoint.load(path)
    except (CheckpointError, FileNotFoundError) as error:
        for name in NEWEST[1:] if older and path.name == "last.npz" else ():
            other = path.with_name(name)
            with contextlib.suppress(CheckpointError, FileNotFoundError):
                state = checkpoint.load(other)
                print(f"{error}; going on from {other} instead", file=sys.stderr)
                return other, state
        began = bears(path.with_name("config.json"), CONFIG_MARK)
        if older and began and not holds_run(path.parent):
            reason = "nothing was saved yet; without --resume the run begins anew"
            raise UsageError(f"{path.parent}: {reason}") from error
        raise


def _saved(arguments: Any, path: Path) -> dict[str, Any]:
    """The options that a checkpoint kept, as far as somebody can have typed them."""
    if not isinstance(arguments, dict):
        raise CheckpointError(f"checkpoint {path}: its options are {reprlib.repr(arguments)}")
    saved = {k: v for k, v in arguments.items() if k in DEFAULTS and k not in NOT_SAVED}
    for option in itertools.chain(*OPTIONS.values()):
        value = saved.get(option.name.replace("-", "_"), option.default)
        if not _could_be_typed(option, value):
            shown = reprlib.repr(value)
            raise CheckpointError(f"checkpoint {path}: --{option.name} cannot be {shown}")
    return saved


def _could_be_typed(option: Option, value: Any) -> bool:
    if value is None or option.type is bool:
        return value is option.default or option.name == "epochs" or isinstance(value, bool)
    with contextlib.suppress(argparse.ArgumentTypeError):
        known = isinstance(value, str | int | float) and "\0" not in str(value)
        return known and option.type(str(value)) == value
    return False


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, changed by each layer; how long to train is said in epochs or iterations."""
    values = dict(DEFAULTS)
    for layer in layers:
        if layer.keys() & {"epochs", "iterations"}:
            values |= {"epochs": None, "iterations": None}
        values |= layer
    return values


def _paper(values: Mapping[str, Any], chosen: Container[str]) -> Mapping[str, Any]:
    """The published settings of the network that ``values`` name."""
    network = _as_typed(values["model"], values)
    if network not in PAPER:
        raise UsageError(
            f"--preset paper: no settings are known for --model {network}, only for "
            + ", ".join(PAPER)
        )
    if "lr" not in PAPER[network] and "lr" not in chosen:
        raise UsageError(f"--preset paper: {network}'s learning rate was not published: give --lr")
    return PAPER[network]


def saved_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options that a checkpoint keeps, so that a run goes on as it was begun."""
    return {k: v for k, v in options.values.items() if k not in NOT_SAVED}


@contextlib.contextmanager
def open_run(options: argparse.Namespace) -> Iterator[RunFolder]:
    """The run folder, checked to be writable, and for this training alone in the block of ``with``.

    Raises:
        UsageError: if it holds another run, or files of anything else, that would be lost.
        FolderInUse: if another process trains there.
        OSError: if it cannot be made or written to.
    """
    group = parallel.group()
    with contextlib.ExitStack() as stack:
        with group.rank_0_first():
            if not group.rank:
                _check_free(options)
            folder = RunFolder(options.out)
            if not group.rank:
                stack.enter_context(folder.alone(options.resume))
                folder.tensorboard = options.tensorboard
        launch.log_to(folder.path / f"rank-{group.rank}.log")
        yield folder


def _check_free(options: argparse.Namespace) -> None:
    out, resumed = Path(options.out), Path(options.resume or "nothing")
    goes_on = options.resume and resumed.parent.resolve() == out.resolve()
    if not goes_on and (reason := _why_not_free(options.out)):
        if (lock := out / "run.lock").exists():
            with locked(lock):  # who trains there is told first
                pass
        raise UsageError(reason)


def _why_not_free(path: str) -> str:
    """What keeps a run from beginning in a folder; an earlier one may have begun and saved none."""
    if holds_run(path):
        return f"{path} holds a run already: --resume goes on with it, another --out begins one"
    for name in () if bears(Path(path, "config.json"), CONFIG_MARK) else RECORDS:
        if os.path.lexists(Path(path, name)):
            return f"{Path(path, name)}: no run wrote it, and it would be lost; give another --out"
    return ""
