"""The model card of a run, ``model_card.md`` filled in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyfcn.metrics import SCORES
from tinyfcn.training.model_spec import ModelSpec

_TEMPLATE = Path(__file__).with_suffix(".md")


def text(config: Mapping[str, Any], best: Mapping[str, float]) -> str:
    """The card, as Markdown.

    Args:
        config: what ``config.json`` says; with "model", as ``ModelSpec.to_dict`` gives it, and
            "images", how many were trained and scored on.
        best: the row of the log of the epoch whose weights are in ``best.npz``.
    """
    spec, arguments = ModelSpec.from_dict(config["model"]), config["arguments"]
    own, modes = spec.preprocessing, {1: '.convert("L")', 3: '.convert("RGB")'}
    low, high = own.range or (0, 255)
    limits = f"image = np.clip((image - {low:g}) / {high - low:g}, 0, 1) * 255\n"
    size = {1: "[round(n * {0} / max(photo.size)) for n in photo.size]", 2: "({1}, {0})"}
    resize = size.get(len(own.resize), "").format(*own.resize)
    images, root = config["images"], arguments["data_root"]
    data = "Scenes that tinyfcn draws"
    if root is not None:  # but where it lies is nobody's business
        data = Path(root).resolve().name
    lists = _escaped(arguments["train_split"]), _escaped(arguments["val_split"])
    figures = [f"| {label} | {best[name]:.3f} |" for name, label in SCORES.items()]
    classes = [
        f"| {i} | {_escaped(name)} | {_figure(best[f'iu {name}'])} |"
        for i, name in enumerate(spec.classes)
    ]
    return _TEMPLATE.read_text("utf-8").format(
        spec=spec, p=own, best=best, images=images, lists=lists, data=_escaped(data),
        count=len(classes), scores="\n".join(figures), classes="\n".join(classes),
        name=json.dumps(data),
        step=-1 if own.channel_order == "BGR" else 1,
        convert="" if high > 255 else modes.get(own.channels, ""),
        limits=limits if own.range else "",
        resize=resize and f"photo = photo.resize({resize}, Image.Resampling.BILINEAR)\n",
    )  # fmt: skip


def _escaped(name: str) -> str:
    """As Markdown that shows nothing but these letters, in one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(name.split()))


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
