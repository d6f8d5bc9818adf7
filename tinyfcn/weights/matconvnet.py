"""Reads MatConvNet's ``.mat`` files: a row of ``layers``, or a graph with ``params``.

Filters are (KH, KW, in / groups, out), those of transposed convolutions (KH, KW, out / groups, in);
both turned around, (3, 2, 0, 1), are ours. MATLAB drops trailing ones from shapes. Inputs are RGB
in 0..255 less the file's own mean.

Source: vlfeat/matconvnet, doc and utils/import-caffe.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.preprocessing import Preprocessing
from tinyfcn.weights import mat
from tinyfcn.weights.file import WeightFile, WeightsError

MEAN = (123.68, 116.779, 103.939)  # of the VGG classifiers, where a file has none
# How parameters of graphs end: conv1_1_filter, conv1_1_bias; or conv1_1f, conv1_1b.
ENDINGS = {"_filter": "weight", "_bias": "bias", "f": "weight", "b": "bias"}


def recognises(start: bytes) -> bool:
    """Whether the file begins as MATLAB's do."""
    return start.startswith(b"MATLAB ")


def read(path: Path) -> WeightFile:
    """``layer.weight`` and ``layer.bias`` by the names of layers, or of parameters of a graph."""
    variables = mat.read(path)
    net = _struct(variables.get("net")) or variables
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in [*_of_layers(net), *_of_params(net)]:
        if name in arrays:
            raise WeightsError(f"two arrays are called {name[:100]!r}")
        arrays[name] = value
    if not arrays:
        shown = ", ".join(list(variables)[:5])
        raise WeightsError(f"no layers or params of MatConvNet; it holds {shown or 'nothing'}")
    return WeightFile(arrays, Preprocessing("RGB", 1.0, _mean(net), (1.0, 1.0, 1.0)))


def _of_layers(net: dict[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    for layer in _structs(net.get("layers")):
        name, values = layer.get("name"), layer.get("weights")
        if values is None:  # until beta 16
            values = [layer[key] for key in ("filters", "biases") if key in layer]
        if isinstance(name, str) and isinstance(values, list):
            for part, value in zip(("weight", "bias", "2"), values, strict=False):
                if isinstance(value, np.ndarray):
                    yield f"{name}.{part}", _array(value, part, f"{name[:100]}.{part}")


def _of_params(net: dict[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    for param in _structs(net.get("params")):
        name, value = param.get("name"), param.get("value")
        if isinstance(name, str) and isinstance(value, np.ndarray):
            ending = next((end for end in ENDINGS if name.endswith(end)), "")
            part = ENDINGS.get(ending, "")
            full = f"{name.removesuffix(ending)}.{part}" if part else name
            yield full, _array(value, part, name[:100])


def _array(value: NDArray[Any], part: str, name: str) -> NDArray[Any]:
    if part == "weight":
        if value.ndim > 4:
            raise WeightsError(f"{name} should have 4 axes at most, but has shape {value.shape}")
        value = value.reshape(value.shape + (1,) * (4 - value.ndim), order="A")
        return value.transpose(3, 2, 0, 1)
    return value.reshape(-1, order="F")


def _mean(net: dict[str, Any]) -> tuple[float, float, float]:
    """The mean for each channel; older files have a mean image."""
    meta = _struct(net.get("meta")) or net
    mean = _struct(meta.get("normalization")).get("averageImage")
    if not isinstance(mean, np.ndarray) or mean.size % 3 or not mean.size:
        return MEAN
    channels = mean.reshape(-1, 3, order="F").astype(np.float64).mean(axis=0)
    if not np.isfinite(channels).all():
        raise WeightsError("normalization.averageImage is not finite")
    red, green, blue = channels.tolist()
    return red, green, blue


def _structs(value: Any) -> list[dict[str, Any]]:
    """The elements of a struct, or of the structs in a cell."""
    items = value if isinstance(value, list) else []
    flat = [one for item in items for one in (item if isinstance(item, list) else [item])]
    return [one for one in flat if isinstance(one, dict)]


def _struct(value: Any) -> dict[str, Any]:
    """The first element of a struct; empty if it is none."""
    return next(iter(_structs(value)), {})
