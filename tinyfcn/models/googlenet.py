"""GoogLeNet, a classifier of inception blocks, with two more classifiers halfway for training.

Source: Szegedy et al.: Going deeper with convolutions (CVPR 2015). The two published forms are
described in ``backbones/googlenet.py``; keys and shapes are torchvision's.

| form        | parameters | with auxiliary classifiers |
|-------------|------------|----------------------------|
| torchvision | 6,624,904  | 13,004,888                 |
| bvlc        | 6,998,552  | 13,378,280                 |
"""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import scaled
from tinyfcn.models.backbones.googlenet import GoogLeNetBackbone, convolution
from tinyfcn.models.convolutionalize import GlobalAvgPool2d
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["googlenet"]


class Auxiliary(nn.Module):
    """A classifier on a map halfway: (N, C, 14, 14) → (N, num_classes).

    torchvision's form pools maps of any size to 4 × 4; BVLC's pools 5 × 5 windows 3 apart, which
    gives 4 × 4 for 14 × 14, the size for images of 224 × 224.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float, form: str) -> None:
        self.pool: nn.Module = (
            nn.AdaptiveAvgPool2d(4) if form == "torchvision" else nn.AvgPool2d(5, stride=3)
        )
        channels = scaled(128, width)
        hidden = scaled(1024, width)
        self.conv = convolution(in_channels, channels, 1, form)
        self.fc1 = nn.Linear(channels * 4 * 4, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, num_classes)."""
        y = self.conv(self.pool(x)).flatten(1)
        return self.fc2(self.dropout(F.relu(self.fc1(y))))


class GoogLeNet(nn.Module):
    """GoogLeNet: images (N, 3, H, W), natively 224 × 224 → class scores (N, num_classes).

    It takes every image size, because it averages over the whole map in the end; for a map of
    scores instead see :func:`tinyfcn.models.convolutionalize`. In training too it gives the class
    scores alone; :meth:`outputs` gives those of the auxiliary classifiers as well.

    Args:
        num_classes: number of scores.
        width: multiplies all other numbers of channels.
        form: "torchvision" (batch normalization) or "bvlc" (response normalization, 5 × 5 windows),
            see ``backbones/googlenet.py``.
        aux_logits: whether to have the two auxiliary classifiers, as both published files do.
        dropout: probability before the last layer; by default as published, 0.2 in torchvision's
            form and 0.4 in BVLC's.

    Attributes:
        conv1, maxpool1, … inception5b: the layers of the backbone.
        aux1, aux2: classifiers on the maps of inception4a and inception4d, or None.
        avgpool, dropout, flatten, fc: the classifier at the end.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = googlenet(num_classes=10, width=1 / 16).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 64, 48), np.float32))).shape
        (1, 10)
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width: float = 1.0,
        form: str = "torchvision",
        aux_logits: bool = False,
        dropout: float | None = None,
    ) -> None:
        if dropout is None:
            dropout = 0.2 if form == "torchvision" else 0.4
        backbone = GoogLeNetBackbone(width, form)
        for name, layer in backbone.named_children():
            setattr(self, name, layer)

        def auxiliary(block: str) -> Auxiliary | None:
            channels = getattr(self, block).out_channels
            return Auxiliary(channels, num_classes, width, form) if aux_logits else None

        self.aux1, self.aux2 = auxiliary("inception4a"), auxiliary("inception4d")
        self.avgpool = GlobalAvgPool2d(7)
        self.dropout = nn.Dropout(dropout)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(backbone.channels[-1], num_classes)

    def chain(self) -> nn.Sequential:
        """The layers that the class scores come through, in order, without the auxiliary ones."""
        layers = {k: v for k, v in self.named_children() if not isinstance(v, Auxiliary)}
        chain = nn.Sequential(layers)
        chain.training = self.training
        return chain

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes)."""
        return self.chain()(x)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """All scores: "out" and, where there are auxiliary classifiers, "aux1" and "aux2".

        The published training minimizes the loss of "out" plus 0.3 times those of the others.

        Example:
            >>> import numpy as np, tinyfcn
            >>> model = googlenet(num_classes=5, width=1 / 16, aux_logits=True)
            >>> scores = model.outputs(tinyfcn.tensor(np.zeros((2, 3, 64, 64), np.float32)))
            >>> {name: y.shape for name, y in scores.items()}
            {'aux1': (2, 5), 'aux2': (2, 5), 'out': (2, 5)}
        """
        scores: dict[str, Tensor] = {}
        for name, layer in self.chain().named_children():
            x = layer(x)
            if name == "inception4a" and self.aux1 is not None:
                scores["aux1"] = self.aux1(x)
            if name == "inception4d" and self.aux2 is not None:
                scores["aux2"] = self.aux2(x)
        return {**scores, "out": x}


googlenet = register("classification", source="Szegedy et al. 2015", name="googlenet")(GoogLeNet)
