"""Judges what masks hold: do their values mean what the classes say?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyfcn.cli.errors import typed
from tinyfcn.data.class_files import as_value_pairs
from tinyfcn.data.palette import VOC_CLASSES, VOC_PALETTE, VOID
from tinyfcn.doctor.look import Part
from tinyfcn.training.model_spec import class_list

SMOOTHED = 48  # so many values that are no class come from smoothing or JPEG; few, where lines
THICK = 0.1  # of void's pixels, if they lie deep: areas then, not outlines


def what_must_go_wrong(part: Part, sure: bool = False) -> str:
    """Why nothing good can be learned from such masks, and what to do; "" if it can.

    Args:
        part: the masks.
        sure: the user has said which value is void.
    """
    say = f"the masks in {part.where} hold {listed(part.values)}"
    if part.strange:
        odd = part.seen[part.having(part.strange).argmax()]
        file = part.dataset.files[odd][1].name
        return f"{say}{_strange(part)} ({part.strange[0]} and such are in {file})"
    if not part.named and (other := _order(part) or ("" if sure else _outlines(part))):
        return other
    void, found = part.table == VOID, len(part.classes) - len(part.missing)
    areas = part.deep[void].sum() > THICK * part.pixels[void].sum()
    unsure = areas and part.classes != VOC_CLASSES and not (sure or part.named)
    if found >= 2 and not (part.missing and unsure):
        return ""
    voids = [value for value in part.values if void[value]]
    say += f", and {listed(voids)} is void" if voids else ""
    lacking = f"nothing of {listed(part.missing)}" if part.missing else "one class alone"
    named = f"{_mapping(part, part.values)} names them"
    say += f", and there is {lacking}: "
    say += named if len(part.values) > 1 else "are these the masks?"
    return say + (f", or, if {VOID} is void indeed, --void {VOID} says so" if found > 1 else "")


def _order(part: Part) -> str:
    """What is to be said where a colour of palettes stands for one value here and for another
    there, or for another than VOC's."""
    used = [value for value in part.values if value < len(part.classes)]
    voc = {c.tobytes(): (v, "VOC") for v, c in enumerate(VOC_PALETTE[: len(part.classes)])}
    as_voc = any(all(_colour(palette, v) in voc for v in used) for palette in part.palettes)
    known = voc if as_voc else {}  # of each colour the value, and whose it is
    for palette, places in part.palettes.items():
        name, own = part.dataset.ids[places[0]], [v for v in used if part.counts[places, v].any()]
        colours = [_colour(palette, v) for v in own]
        for value, colour in zip(own, colours, strict=True) if len({*colours}) == len(own) else ():
            other, whose = known.setdefault(colour, (value, name))
            if colour and other != value:
                return (
                    f"{len(places)} masks in {part.where}, such as {name}, have palettes in "
                    f"another order than {whose}'s: {value} has the colour of {other}. If the "
                    "colours are right, save the masks as RGB, whose colours are read; if the "
                    f"values are: {_mapping(part, used)}"
                )
    return ""


def _colour(palette: bytes, value: int) -> bytes:
    """Red, green and blue of a value; nothing, if the palette has none for it."""
    return palette[3 * value : 3 * value + 3]


def _outlines(part: Part) -> str:
    """What is to be said where nobody named the classes, and one is but outlines, as void is."""
    thin = [v for v in part.values if v and not part.deep[v]]
    if part.classes != VOC_CLASSES or VOID in part.values or not thin or not part.deep[1:].any():
        return ""
    return (
        f"{thin[0]} lies only along the borders of others in {part.where}, as void does: --void "
        f"{thin[0]} says that it is; if it is a class, --classes gives the names of all"
    )


def worth_knowing(part: Part) -> list[str]:
    """What is worth to be read, though it may be meant so."""
    said = [*map(typed, part.dataset.notes)]
    if part.missing:
        hint = "; the names are those of VOC, --classes background,NAME gives others"
        said.append(f"there is nothing of {listed(part.missing)} in the masks"
                    f"{hint if part.classes == VOC_CLASSES else ''}")  # fmt: skip
    used = [value for value in part.values if value < len(part.classes)]
    black = {v for colours in part.palettes for v in used if _colour(colours, v) == bytes(3)}
    if len(part.classes) == 2 and black == {1} and not part.named:
        said.append(f"1 is black in the palettes, and 0 is not: if black is {part.classes[0]}, "
                    f"--mask-values 1:{part.classes[0]},0:{part.classes[1]} says so")  # fmt: skip
    unnamed = [v for v in part.values if part.named and part.table[v] == VOID != v]
    if unnamed:
        share = part.pixels[unnamed].sum() / part.pixels.sum()
        said.append(f"void are the values {listed(unnamed)}, {share:.1%} of the pixels")
    return said


def _strange(part: Part) -> str:
    """What values may be that are neither a class nor void."""
    classes, (first, *more) = part.classes, part.strange
    deep = (part.deep[part.strange] > 0).mean()
    if more and deep < (0.5 if len(more) >= SMOOTHED else 1e-9):
        return (
            ", as masks do that were made smaller or turned with smoothing, or were saved as JPEG: "
            "export them again, as PNG and without smoothing (nearest neighbour)"
        )
    own = np.flatnonzero(part.table < len(classes)).tolist()
    text = f", but the {class_list(classes)} are {listed(own)}, and {VOID} is void; "
    if not more and not part.missing:
        text += f"--void {first} says that {first} is void too"
        if first == len(classes):
            text += "; if it is a class, --classes lacks a name, or 0 is void: --void 0"
        return text
    if len(more) > 2 * len(classes):
        text += "if each object has a number of its own, give all of a class the same; else "
    thick = [v for v in part.values if part.deep[v]]
    values = thick if len(thick) == len(classes) != len(part.values) else part.values
    values = [v for v in values if v != VOID or len(values) == len(classes)]
    return f"{text}{_mapping(part, values)} names them"


def _mapping(part: Part, values: Sequence[int]) -> str:
    """The option that gives a name to each value, as far as one can guess."""
    names = [*part.classes] if len(part.classes) > 1 else ["background", *part.classes]
    if len(values) != len(names):
        names[1:] = (f"NAME{i}" if len(values) > 2 else "NAME" for i in range(1, 256))
    some = dict(zip(values[:9], names, strict=False))
    return f"--mask-values {as_value_pairs(some)}{',…' * (len(values) > 9)}"


def listed(things: Sequence[object], most: int = 8) -> str:
    """``0, 1 and 255``; of many, the first and the last."""
    words = [str(thing) for thing in things]
    if len(words) > most:
        words = [*words[: most - 3], "…", words[-1]]
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
