"""Images continued beyond their borders by their mirror images."""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn.tensor import Tensor


def mirror(x: Tensor, borders: tuple[int, int, int, int]) -> Tensor:
    """``F.pad(x, borders, "reflect")``, mirrored again and again where a border is larger than the
    image: (left, right, top, bottom).

    Example:
        >>> import tinyfcn
        >>> mirror(tinyfcn.tensor([[[[1.0, 2.0, 3.0]]]]), (5, 0, 0, 0))
        Tensor([[[[2., 1., 2., 3., 2., 1., 2., 3.]]]], dtype=float32)
    """
    left, right, top, bottom = borders
    height, width = x.shape[2:]
    if width == 1:  # a line has nothing to mirror
        x, left, right = F.pad(x, (left, right), "replicate"), 0, 0
    if height == 1:
        x, top, bottom = F.pad(x, (0, 0, top, bottom), "replicate"), 0, 0
    while left or right or top or bottom:
        # At most from one mirror to the next: only there may the next reflection begin.
        across, down = min(left, width - 1), min(top, height - 1)
        back, up = min(right, width - 1), min(bottom, height - 1)
        x = F.pad(x, (across, back, down, up), "reflect")
        left, right, top, bottom = left - across, right - back, top - down, bottom - up
    return x
