"""What a network is made of: sizes, parameters, arithmetic, memory and receptive field, by layer.

Nothing of it is derived from a description of the network. The network runs once, on the backend
"meta", whose arrays have shapes and no values, and what its layers do is written down.
"""

# mypy: disable-error-code="attr-defined, arg-type, misc"
# (the arrays here are those of the backend "meta")
from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinyfcn.backend.meta import MetaArray
from tinyfcn.function import Function
from tinyfcn.multiply_adds import MultiplyAdds
from tinyfcn.nn.module import Module, Parameter
from tinyfcn.receptive_field import Field
from tinyfcn.receptive_field_rules import Fields, ReceptiveFields
from tinyfcn.tensor import Tensor, set_grad_enabled
from tinyfcn.without_values import empty_images, image_shape, without_values

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
            with all its channels, (height, width) of the image; infinite if on all of them, NaN if
            it cannot be told.
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
            off, before they are upsampled. Maps of a size that does not depend on the image's, as
            those of pyramid pooling, depend on all of it and are left out here. NaN where it cannot
            be told: behind an index that picks pixels here and there.
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
            "layer", "kind", "output", "parameters", "multiply-adds", "bytes", "field", "stride",
        )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(f"{text:{'<' if i < 3 else '>'}{widths[i]}}" for i, text in enumerate(row))
            for row in (head, *rows)
        ]
        lines.insert(1, "-" * len(lines[0]))
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

    The receptive field and the stride follow the ops that ran, along every branch: windows of k
    pixels, s apart, on a map of field K and stride S have field K + (k − 1)·S and stride S·s (Long,
    Shelhamer, Darrell 2015, section 3). Of a map whose pixels differ in this, as behind a
    transposed convolution, the largest field is given. Slices, reshapes and swapped axes are
    followed; padding, cropping and the image's border change nothing.

    Multiply-adds are those of a direct convolution, the padding's among them, and of matrix
    products; additions of biases, normalization, pooling and resizing are not counted. Papers call
    them MACs or, mostly, FLOPs; others give twice as many of the latter.

    Args:
        model: any module that is called on one tensor.
        input_size: (C, H, W), or (N, C, H, W).

    Raises:
        ValueError: if ``input_size`` is not 3 or 4 integers of at least 1; and what the model
            itself raises for an input of this size.
        TypeError: if a module leaves Tensors for NumPy and comes back.

    Example:
        >>> from tinyfcn import nn
        >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 2, 3)
        >>> print(summary(nn.Sequential(*layers), (3, 10, 10)))
        layer  kind       output     parameters  multiply-adds  bytes  field  stride
        ----------------------------------------------------------------------------
        0      Conv2d     8 x 8 x 8         224         13.8 k  2.0 k      3       1
        2      MaxPool2d  8 x 4 x 4                              512       4       2
        3      Conv2d     2 x 2 x 2         146          576       32      8       2
        ----------------------------------------------------------------------------
        1 x 3 x 10 x 10 → 1 x 2 x 2 x 2
        370 parameters
        14.4 k multiply-adds
        4.3 k bytes kept for the backward pass
        receptive field 8, stride 2
    """
    shape = image_shape("summary", input_size)
    parameters = list(model.parameters())
    x = empty_images(model, shape)
    fields = ReceptiveFields(x)
    seen = _Layers(model, fields)
    with without_values(model), set_grad_enabled(True), fields, seen:
        results = list(_tensors(model(x)))
        # Of all ops those are left that the results hold for a backward pass.
        saved = [t.data for op in seen.ops for t in op.saved_tensors if t is not None]
        known = {id(p.data.memory) for p in parameters}
    kept = {id(a.memory): a.nbytes for a in saved if isinstance(a, MetaArray)}
    maps = zip(fields.of(results[0]), zip(fields.of(x), *seen.maps, strict=True), strict=True)
    receptive_field, stride = zip(*(_coarsest(*along) for along in maps), strict=True)
    return Summary(
        seen.layers,
        shape,
        results[0].shape,
        sum(p.size for p in parameters if p.requires_grad),
        sum(p.size for p in parameters if not p.requires_grad),
        sum(layer.multiply_adds for layer in seen.layers),
        sum(nbytes for memory, nbytes in kept.items() if memory not in known),
        receptive_field,
        stride,
    )


class _Layers(MultiplyAdds):
    """Every call of a module that does something itself becomes a layer. What is counted is of the
    innermost call that is on."""

    def __init__(self, model: Module, fields: ReceptiveFields) -> None:
        self.fields = fields
        self.names = {id(module): name for name, module in model.named_modules()}
        self.layers: list[Layer] = []
        self.maps: list[Fields] = []  # what ops gave
        self.ops: weakref.WeakSet[Function] = weakref.WeakSet()
        self._outside: list[int] = []  # multiply-adds of the calls around that one
        self._met: set[int] = set()  # parameters

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        super().op(function, inputs, outputs)
        self.maps += [self.fields.of(y) for y in outputs if y.ndim == 4]
        if hasattr(function, "edges"):
            self.ops.add(function)

    def enter(self, module: Module, inputs: Sequence[Any]) -> None:
        if id(module) in self.names:
            self._outside.append(self.total)
            self.total = 0

    def leave(self, module: Module, inputs: Sequence[Any], result: Any) -> None:
        if id(module) not in self.names:
            return
        multiply_adds, self.total = self.total, self._outside.pop()
        name, kind, outputs = self.names[id(module)], type(module).__name__, list(_tensors(result))
        if not all(isinstance(t.data, MetaArray) for t in outputs):
            raise TypeError(
                f"summary: {name or kind} gave an array made by NumPy; only what is computed with "
                "tinyfcn.functional can be followed"
            )
        own = [p for p in vars(module).values() if isinstance(p, Parameter)]
        new = [p for p in own if id(p) not in self._met]
        self._met.update(map(id, new))
        is_leaf = not any(True for _ in module.children())
        if multiply_adds or new or (is_leaf and not any(result is x for x in inputs)):
            earlier = {id(x.data.memory) for x in _tensors(inputs)}
            fields = self.fields.of(outputs[0])
            self.layers.append(Layer(
                name, kind, outputs[0].shape,
                sum(p.size for p in new if p.requires_grad),
                multiply_adds,
                sum(t.data.nbytes for t in outputs if id(t.data.memory) not in earlier),
                tuple(field.size() for field in fields),
                tuple(field.stride() for field in fields),
            ))  # fmt: skip


def _tensors(result: Any) -> Iterator[Tensor]:
    """The tensors in a result: one, or several in tuples, lists and dicts."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, dict | list | tuple):
        for part in result.values() if isinstance(result, dict) else result:
            yield from _tensors(part)


def _coarsest(result: Field, maps: Sequence[Field]) -> tuple[float, float]:
    """Receptive field and stride of the map with the largest stride, along an axis of the image."""
    if math.isnan(result.size()):
        return math.nan, math.nan
    found = [(field.size(), field.stride()) for field in maps]
    stride = max(stride for size, stride in found if size < math.inf and stride > 0)
    return max(size for size, step in found if step == stride), stride


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
    texts = ["all" if n == math.inf else "?" if math.isnan(n) else f"{n:g}" for n in both]
    texts = texts[:1] if texts[0] == texts[1] else texts
    return "" if texts == ["?"] else " x ".join(texts)


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
