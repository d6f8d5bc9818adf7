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
    for name, part, value in (*_of_layers(net), *_of_params(net)):
        if isinstance(name, str) and isinstance(value, np.ndarray):
            full = f"{name}.{part}" if part else name
            if full in arrays:
                raise WeightsError(f"two arrays are called {full[:100]!r}")
            arrays[full] = _array(value, part, full[:100])
    if not arrays:
        shown = ", ".join(list(variables)[:5])
        raise WeightsError(f"no layers or params of MatConvNet; it holds {shown or 'nothing'}")
    return WeightFile(arrays, Preprocessing("RGB", 1.0, _mean(net), (1.0, 1.0, 1.0)))


def _of_layers(net: dict[str, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Name, part and value."""
    for layer in _structs(net.get("layers")):
        until_beta16 = [layer[key] for key in ("filters", "biases") if key in layer]
        values = layer.get("weights", until_beta16)
        if isinstance(values, list):
            for part, value in zip(("weight", "bias", "2"), values, strict=False):
                yield layer.get("name"), part, value


def _of_params(net: dict[str, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Name without its ending, the part that this stands for, and value."""
    for param in _structs(net.get("params")):
        name = str(param.get("name"))
        ending = next((end for end in ENDINGS if name.endswith(end)), "")
        yield name.removesuffix(ending), ENDINGS.get(ending, ""), param.get("value")


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
    if isinstance(value, dict):
        return [value]
    return [one for item in value for one in _structs(item)] if isinstance(value, list) else []


def _struct(value: Any) -> dict[str, Any]:
    """The first element of a struct; empty if it is none."""
    return next(iter(_structs(value)), {})
