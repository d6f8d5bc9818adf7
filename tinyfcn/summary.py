"""What a network is made of: sizes, parameters, arithmetic, memory and receptive field, by layer.

Nothing of it is derived from a description of the network. The network runs once, on the backend
"meta", whose arrays have shapes and no values, and what its layers do is written down.
"""

# mypy: disable-error-code="attr-defined, arg-type, misc"
# (the arrays here are those of the backend "meta")
from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.counting import MultiplyAdds, count_multiply_adds
from tinyfcn.backend.meta import MetaArray, Sight, empty
from tinyfcn.nn.module import Module, Parameter
from tinyfcn.tensor import Tensor, set_grad_enabled

Pixels = tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """One call of one layer.

    Attributes:
        name: the module's full name, as in ``state_dict``.
        kind: its class.
        shape: of its output, the first if there are several.
        parameters: numbers that training changes; 0 where the layer is used again.
        multiply_adds: of its convolutions and matrix products.
        nbytes: what its output takes; 0 where that is a view of its input.
        receptive_field: how many pixels of the image one pixel of its output depends on at most,
            (height, width); infinite if on all of them.
        stride: how far these windows are apart, in pixels of the image; NaN if the output is no
            map but a vector.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    nbytes: int
    receptive_field: Pixels
    stride: Pixels


@dataclass(frozen=True)
class Summary:
    """A network, layer by layer; ``print`` shows it as a table.

    Attributes:
        layers: in the order in which they ran. Left out is what does nothing (dropout in
            evaluation), or has been done by the layer before (ReLU behind a convolution).
        input_shape: (N, C, H, W).
        output_shape: of the result, or of the first one.
        parameters: numbers that training changes.
        frozen: parameters that it does not.
        multiply_adds: of all convolutions and matrix products of one forward pass.
        kept_bytes: what the forward pass keeps for a backward pass, parameters apart.
        receptive_field, stride: of the coarsest map, (height, width): where the classes are read
            off, before they are enlarged. Maps of a size that does not depend on the image's, as
            those of pyramid pooling, count as seeing all of it and are left out here. NaN where it
            cannot be told: behind an index that picks pixels here and there.
    """

    layers: Sequence[Layer] = field(repr=False)
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    frozen: int
    multiply_adds: int
    kept_bytes: int
    receptive_field: Pixels
    stride: Pixels

    def __str__(self) -> str:
        rows = [
            (
                layer.name or "(all)", layer.kind, sides(layer.shape[1:]),
                f"{layer.parameters:,}" if layer.parameters else "",
                amount(layer.multiply_adds), amount(layer.nbytes),
                pixels(layer.receptive_field), pixels(layer.stride),
            )
            for layer in self.layers
        ]  # fmt: skip
        head = (
            "layer", "kind", "output", "parameters", "multiply-adds", "bytes", "sees", "stride",
        )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(f"{text:{'<' if i < 3 else '>'}{widths[i]}}" for i, text in enumerate(row))
            for row in (head, *rows)
        ]
        lines.insert(1, "─" * len(lines[0]))
        lines += [
            lines[1],
            f"{sides(self.input_shape)} → {sides(self.output_shape)}",
            f"{self.parameters:,} parameters" + (f", {self.frozen:,} frozen" * bool(self.frozen)),
            f"{amount(self.multiply_adds) or 0} multiply-adds",
            f"{amount(self.kept_bytes) or 0} bytes kept for the backward pass",
        ]
        if not math.isnan(self.stride[0]):
            field, stride = pixels(self.receptive_field), pixels(self.stride)
            lines.append(f"receptive field {field}, stride {stride}")
        return "\n".join(line.rstrip() for line in lines)


def summary(model: Module, input_size: Sequence[int]) -> Summary:
    """What ``model`` does with an input of a size, without computing it.

    The model runs in evaluation mode, on arrays without memory, and is as before afterwards. To
    look at a network that does not fit into memory, make it inside
    ``tinyfcn.backend.using("meta")``.

    The receptive field and the stride follow the layers that ran, along every branch: a window that
    spans k pixels, s apart, after a map that sees K pixels with stride S, sees K + (k − 1)·S with
    stride S·s; where branches meet, the largest counts (Long, Shelhamer, Darrell 2015, section 3).
    Padding, cropping and the image's border make no pixel see more.

    Multiply-adds are those of a direct convolution, the padding's among them, and of matrix
    products; additions of biases, normalization, pooling and resizing are not counted. Papers call
    them MACs or, mostly, FLOPs; others give twice as many of the latter.

    Args:
        model: any module that is called on one tensor.
        input_size: (C, H, W), or (N, C, H, W).

    Raises:
        ValueError: if ``input_size`` is not 3 or 4 whole numbers of at least 1; and what the model
            itself raises for an input of this size.
        TypeError: if a module leaves Tensors for NumPy and comes back.

    Example:
        >>> from tinyfcn import nn
        >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 2, 3)
        >>> print(summary(nn.Sequential(*layers), (3, 10, 10)))
        layer  kind       output     parameters  multiply-adds  bytes  sees  stride
        ───────────────────────────────────────────────────────────────────────────
        0      Conv2d     8 x 8 x 8         224         13.8 k  2.0 k     3       1
        2      MaxPool2d  8 x 4 x 4                              512      4       2
        3      Conv2d     2 x 2 x 2         146          576       32     8       2
        ───────────────────────────────────────────────────────────────────────────
        1 x 3 x 10 x 10 → 1 x 2 x 2 x 2
        370 parameters
        14.4 k multiply-adds
        4.3 k bytes kept for the backward pass
        receptive field 8, stride 2
    """
    size = tuple(input_size)
    if len(size) not in (3, 4) or not all(hasattr(n, "__index__") and n >= 1 for n in size):
        raise ValueError(
            f"summary: input_size must be (C, H, W) or (N, C, H, W), each at least 1, got {size}"
        )
    shape = (1,) * (4 - len(size)) + size
    parameters = list(model.parameters())
    dtype = parameters[0].dtype if parameters else np.float32
    with backend.using("meta"), without_values(model), count_multiply_adds() as counted:
        with _written_down(model, counted) as (layers, maps), set_grad_enabled(True):
            x = Tensor(empty(shape, dtype, (Sight(), Sight())))
            results = list(_tensors(model(x)))
            saved = _saved(results)
        skipped = {id(p.data.memory) for p in parameters}
        kept = {id(a.memory): a.memory for a in saved if id(a.memory) not in skipped}
    coarsest = ((math.nan, math.nan),) * 2
    if results[0].data.sight:
        coarsest = _coarsest([t.data for t in (x, *maps, *results)] + saved)
    return Summary(
        layers,
        shape,
        results[0].shape,
        sum(p.size for p in parameters if p.requires_grad),
        sum(p.size for p in parameters if not p.requires_grad),
        counted.total,
        sum(memory.nbytes for memory in kept.values()),
        *coarsest,
    )


@contextlib.contextmanager
def without_values(model: Module) -> Iterator[None]:
    """The model in evaluation mode, with arrays of the backend "meta"."""
    tensors = [(t, t.data) for t in (*model.parameters(), *model.buffers())]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for tensor, data in tensors:
        tensor.data = empty(data.shape, data.dtype)
    try:
        yield
    finally:
        for tensor, data in tensors:
            tensor.data = data
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def _written_down(
    model: Module, counted: MultiplyAdds
) -> Iterator[tuple[list[Layer], list[Tensor]]]:
    """Every call of a module that does something itself becomes a layer, and what it gave a map."""
    layers: list[Layer] = []
    maps: list[Tensor] = []
    inside = [0]  # multiply-adds of the calls inside each of the calls that are on now
    known: set[int] = set()

    def watch(name: str, module: Module) -> None:
        forward = module.forward
        is_leaf = not any(True for _ in module.children())

        def call(*inputs: Any, **options: Any) -> Any:
            before = counted.total
            inside.append(0)
            result = forward(*inputs, **options)
            total = counted.total - before
            own = total - inside.pop()
            inside[-1] += total
            own_parameters = [p for p in vars(module).values() if isinstance(p, Parameter)]
            new = [p for p in own_parameters if id(p) not in known]
            known.update(map(id, new))
            outputs = list(_tensors(result))
            if not all(isinstance(t.data, MetaArray) for t in outputs):
                raise TypeError(
                    f"summary: {name or type(module).__name__} gave an array made by NumPy; only "
                    "what is computed with tinyfcn.functional can be followed"
                )
            maps.extend(outputs)
            if own or new or (is_leaf and not any(result is x for x in inputs)):
                learned = sum(p.size for p in new if p.requires_grad)
                before_it = {id(x.data.memory) for x in _tensors(inputs)}
                nbytes = sum(t.data.nbytes for t in outputs if id(t.data.memory) not in before_it)
                layers.append(_layer(name, module, outputs[0], learned, own, nbytes))
            return result

        vars(module)["forward"] = call

    modules = list(model.named_modules())
    for name, module in modules:
        watch(name, module)
    try:
        yield layers, maps
    finally:
        for _, module in modules:
            del vars(module)["forward"]


def _layer(
    name: str, module: Module, output: Tensor, parameters: int, multiply_adds: int, nbytes: int
) -> Layer:
    sight = output.data.sight
    rows, columns = sight or (Sight(math.nan), Sight(math.nan))
    is_map = output.ndim == 4 and sight is not None
    return Layer(
        name,
        type(module).__name__,
        output.shape,
        parameters,
        multiply_adds,
        nbytes,
        (float(rows.size), float(columns.size)),
        (float(rows.stride), float(columns.stride)) if is_map else (math.nan, math.nan),
    )


def _tensors(result: Any) -> Iterator[Tensor]:
    """The tensors in a result: one, or several in tuples, lists and dicts."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, dict):
        for value in result.values():
            yield from _tensors(value)
    elif isinstance(result, list | tuple):
        for value in result:
            yield from _tensors(value)


def _saved(results: list[Tensor]) -> list[MetaArray]:
    """All arrays that the graph behind ``results`` holds; some of them several times."""
    arrays = []
    nodes = [t._node for t in results if t._node is not None]
    visited: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        saved = [
            x.data if isinstance(x, Tensor) else x.array for x in node._saved or () if x is not None
        ]
        arrays += [x for x in saved if isinstance(x, MetaArray)]
        nodes += [edge[0] for edge in node.edges if isinstance(edge, tuple)]
    return arrays


def _coarsest(maps: list[MetaArray]) -> tuple[Pixels, Pixels]:
    """Receptive field and stride of the map with the largest stride, axis by axis."""
    sights = [x.sight for x in maps if x.ndim == 4 and x.sight]
    found = []
    for axis in (0, 1):
        stride = max(s[axis].stride for s in sights if s[axis].size < math.inf)
        size = max(s[axis].size for s in sights if s[axis].stride == stride)
        found.append((float(size), float(stride)))
    (height, height_stride), (width, width_stride) = found
    return (height, width), (height_stride, width_stride)


def sides(shape: Sequence[int]) -> str:
    """A shape as it is spoken.

    Example:
        >>> sides((21, 500, 375))
        '21 x 500 x 375'
    """
    return " x ".join(map(str, shape))


def pixels(both: Pixels) -> str:
    """Height and width in pixels, one number where they are the same.

    Example:
        >>> pixels((404.0, 404.0)), pixels((0.5, 3.0)), pixels((math.inf, math.inf))
        ('404', '0.5 x 3', 'all')
    """
    texts = ["all" if n == math.inf else "" if math.isnan(n) else f"{n:g}" for n in both]
    return texts[0] if texts[0] == texts[1] else " x ".join(texts)


def amount(n: float) -> str:
    """A large number in steps of 1000: k, M, G, T; nothing for 0.

    Example:
        >>> amount(15_470_264_320), amount(2048), amount(999), amount(0)
        ('15.5 G', '2.0 k', '999', '')
    """
    if n == 0:
        return ""
    for unit in ("", "k", "M", "G"):
        if n < 999.95:
            return f"{n:.1f} {unit}" if unit else f"{n:.0f}"
        n /= 1000
    return f"{n:.1f} T"
