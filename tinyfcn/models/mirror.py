"""Images continued beyond their borders by their mirror images."""

from __future__ import annotations

from tinyfcn.functional.resampling import Bordered, Resample2d
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
    rows = Bordered(height, top, bottom, "reflect")
    return Resample2d(rows, Bordered(width, left, right, "reflect"))(x)
