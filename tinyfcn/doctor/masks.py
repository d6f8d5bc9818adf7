"""Judges what masks hold: do their values mean what the classes say?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyfcn.data.palette import VOC_CLASSES, VOC_PALETTE, VOID
from tinyfcn.doctor.look import Tally
from tinyfcn.training.model_spec import class_list

SMOOTHED = 48  # so many values that are no class come from smoothing or JPEG; few, where lines
THICK = 0.1  # of void's pixels, if they lie deep: areas then, not outlines


def what_must_go_wrong(tally: Tally, sure: bool = False) -> str:
    """Why nothing good can be learned from such masks, and what to do; "" if it can.

    Args:
        tally: the masks.
        sure: the user has said which value is void.
    """
    say = f"the masks in {tally.where} hold {listed(tally.values)}"
    if tally.strange:
        return f"{say}{_strange(tally)} ({tally.strange[0]} and such are in {tally.odd})"
    if not tally.named and (order := _order(tally)):
        return order
    *pixels, void = tally.labels.tolist()
    void_is = f", and {listed([v for v in tally.values if tally.table[v] == VOID])} is void"
    found = [name for name, count in zip(tally.classes, pixels, strict=True) if count]
    if len(found) < min(2, len(tally.classes)):
        text = f"{say} only{void_is if void else ''}, so that nothing"
        text += f" but {found[0]} would be learned: " if found else " would be learned: "
        several = len(tally.values) > 1
        return text + (f"{_mapping(tally)} names them" if several else "are these the masks?")
    areas = tally.deep_void > THICK * void and tally.classes != VOC_CLASSES
    if tally.missing and areas and not (sure or tally.named):
        return (
            f"{say}{void_is}; void covers areas, and there is nothing of {listed(tally.missing)}: "
            f"{_mapping(tally)} names them, or, if {VOID} is void indeed, --void {VOID} says so"
        )
    return ""


def _order(tally: Tally) -> str:
    """What is to be said where palettes have VOC's colours, but another for a value than VOC."""
    known = {tuple(colour): value for value, colour in enumerate(VOC_PALETTE.tolist())}
    used = [value for value in tally.values if value < len(tally.classes)]
    for palette, masks in tally.palettes.items():
        colours = [tuple(palette[3 * v : 3 * v + 3]) for v in used]
        as_voc = [known.get(colour, VOID) for colour in colours]
        if as_voc != used and all(value < len(tally.classes) for value in as_voc):
            value, other = next(pair for pair in zip(used, as_voc, strict=True) if len({*pair}) > 1)
            return (
                f"{masks} masks in {tally.where} have palettes in another order than VOC's: "
                f"{value} has the colour of {other}. If the colours are right, save the masks as "
                f"RGB, whose colours are read; if the values are: {_mapping(tally, used)}"
            )
    return ""


def notes(tally: Tally) -> list[str]:
    """What is worth to be read, though it may be meant so."""
    said = []
    if tally.missing:
        hint = ""
        if tally.classes == VOC_CLASSES:
            hint = "; the names are those of VOC, --classes gives others"
        names = class_list(tally.missing)
        said.append(f"there is nothing of {names} in the masks{hint}")
    unnamed = [v for v in tally.values if tally.named and tally.table[v] == VOID]
    if unnamed:
        share = tally.pixels[unnamed].sum() / tally.pixels.sum()
        said.append(f"void are the values {listed(unnamed)}, {share:.1%} of the pixels")
    return said


def _strange(tally: Tally) -> str:
    """What values may be that are neither a class nor void."""
    classes, strange = len(tally.classes), tally.strange
    rest = [v for v in tally.values if v not in strange and v != VOID]
    if len(strange) >= SMOOTHED or (len(strange) > 1 and not tally.deep_strange):
        return (
            ", as masks do that were made smaller or turned with smoothing, or were saved as JPEG: "
            "export them again, as PNG and without smoothing (nearest neighbour)"
        )
    own = np.flatnonzero(tally.table < classes).tolist()
    text = f", but the {class_list(tally.classes)} are {listed(own)}, and {VOID} is void"
    if len(strange) == 1 and len(rest) == classes:
        text += f"; --void {strange[0]} says that {strange[0]} is void too"
        if strange == [classes]:
            text += "; if it is a class, --classes lacks a name"
        return text
    values = tally.values
    if len(values) != classes:
        values = [v for v in values if v != VOID]
    return f"{text}; {_mapping(tally, values)} names them"


def _mapping(tally: Tally, values: Sequence[int] | None = None) -> str:
    """The option that gives a name to each value, as far as one can guess."""
    values = tally.values if values is None else values
    names = list(tally.classes)
    if len(values) != len(names):
        names = [names[0], *(f"NAME{i}" if len(values) > 2 else "NAME" for i in range(1, 256))]
    pairs = [f"{value}:{name}" for value, name in zip(values, names, strict=False)]
    return "--mask-values " + ",".join(pairs[:9] + ["…"] * (len(pairs) > 9))


def listed(things: Sequence[object]) -> str:
    """``0, 1 and 255``; of many, the first and the last."""
    words = [str(thing) for thing in things]
    if len(words) > 8:
        words = [*words[:5], "…", words[-1]]
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
