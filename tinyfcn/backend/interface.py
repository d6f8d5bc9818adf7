"""The contract between ops and backends: the primitives, their shapes and their meaning.

Primitives take and give plain arrays. Sizes and options arrive checked, and pairs are always
(height, width). Arrays are logical (N, C, H, W); how they lie in memory is the backend's own
business. Each backend passes the same tests; the NumPy one is the specification.

Shape letters: N images, C channels, H W input size, OC output channels, KH KW kernel, OH OW output
size, G groups. "Adjoint" is the transposed linear map: ⟨A x, g⟩ = ⟨x, Aᵀ g⟩.
"""

from __future__ import annotations

from typing import Any, Protocol

Array = Any
Pair = tuple[int, int]


class Backend(Protocol):
    """What every backend offers."""

    name: str
    xp: Any  # the array module with NumPy's functions: numpy or cupy

    # Whether looking at a value is free. On a GPU it waits until all work before it is done, so ops
    # look at no array of the device: where they would refuse what it holds, they give NaN instead.
    eager: bool

    # ---- moving data ----

    def as_array(self, data: Any) -> Array:
        """An array of this backend; Python floats become float32."""

    def to_numpy(self, array: Array) -> Any:
        """A NumPy array with the same values."""

    def upload(self, data: Any) -> Array:
        """The array of this backend with the values of a NumPy array, ready when this returns.

        For threads that prepare data: it does not disturb the work of the others.
        """

    def synchronize(self) -> None:
        """Wait until all work that was given to the device is done; for timings."""

    # ---- convolution: three primitives, closed under differentiation ----
    #
    # primitive             is the forward of        is the input gradient of
    # conv2d                convolution              transposed convolution
    # conv2d_input_grad     transposed convolution   convolution
    # conv2d_weight_grad    (the weight gradient of both)

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None,
        stride: Pair, padding: Pair, dilation: Pair, groups: int, relu: bool = False,
    ) -> Array:  # fmt: skip
        """(N, C, H, W) and (OC, C/G, KH, KW) and (OC,) → (N, OC, OH, OW), or max(that, 0)."""

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        """Adjoint of conv2d in x: (N, OC, OH, OW) → (N, C, H, W) with (H, W) = size; bias (C,)."""

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        """Adjoint of conv2d in weight: (N, C, H, W), (N, OC, OH, OW) → (OC, C/G, KH, KW)."""

    def sum_pixels(self, x: Array) -> Array:
        """(N, C, H, W) → (C,): the sum over images and pixels."""

    # ---- pooling: the indices are h · W + w in a plane; scatter and gather are adjoints ----

    def max_pool2d(
        self, x: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
        indices: bool,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        """Maximum of each window, (N, C, H, W) → (N, C, OH, OW) with (OH, OW) = size, and, with
        ``indices``, where the first maximum stands: int32, or int64 if H · W ≥ 2³¹.

        Padding is −∞ and never has the index. If a window has a NaN, the last one counts. Windows
        may stick out at the bottom and on the right; each has at least one pixel of x.
        """

    def scatter_plane(
        self, x: Array, indices: Array, size: Pair,
        kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
    ) -> Array:  # fmt: skip
        """Zeros (N, C, H, W), (H, W) = size, with each x (N, C, OH, OW) added at its index.

        Indices lie in the plane. Mostly each lies in its window of the pooling that is described,
        which helps to be fast, but the result must be right for any.
        """

    def gather_plane(self, x: Array, indices: Array) -> Array:
        """(N, C, H, W) at indices (N, C, OH, OW), which lie in the plane → (N, C, OH, OW).

        Where values cannot be looked at (``eager``), an index may lie elsewhere, and gives NaN.
        """

    # ---- unpooling without indices: a pixel becomes a cell of factor = (FH, FW) pixels ----

    def unpool_nearest(self, x: Array, factor: Pair) -> Array:
        """The pixel in its whole cell: (N, C, H, W) → (N, C, H · FH, W · FW)."""

    def unpool_nearest_adjoint(self, gy: Array, factor: Pair) -> Array:
        """The sum of each cell: (N, C, H · FH, W · FW) → (N, C, H, W)."""

    def unpool_bed_of_nails(self, x: Array, factor: Pair) -> Array:
        """The pixel in the top left corner of its cell, else 0."""

    def unpool_bed_of_nails_adjoint(self, gy: Array, factor: Pair) -> Array:
        """The top left corner of each cell."""

    # ---- resampling ----

    def resample2d(self, x: Array, rows: Any, columns: Any) -> Array:
        """rows · x · columnsᵀ on every plane: (N, C, H, W) → (N, C, OH, OW).

        rows (OH, H) and columns (OW, W) are read-only float64 NumPy arrays on every backend; few
        of their elements are not 0, and those of a row lie near each other.
        """

    # ---- activations, element by element ----

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""

    def relu_grad(self, gy: Array, y: Array) -> Array:
        """gy where the output y > 0, else 0."""

    def leaky_relu(self, x: Array, slope: float) -> Array:
        """x where x > 0, else slope · x."""

    def leaky_relu_grad(self, gy: Array, x: Array, slope: float) -> Array:
        """gy where x > 0, else slope · gy."""

    def elu(self, x: Array, alpha: float) -> Array:
        """x where x > 0, else alpha · (eˣ − 1)."""

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + e⁻ˣ), without overflow."""

    # ---- along one axis ----

    def softmax(self, x: Array, dim: int) -> Array:
        """exp(x) / Σ exp(x) along ``dim`` ≥ 0, without overflow."""

    def log_softmax(self, x: Array, dim: int) -> Array:
        """x − log Σ exp(x) along ``dim`` ≥ 0, without overflow."""

    # ---- losses: x (N, C, …); labels int32 (N, …) in [0, C), or −1 for a pixel without loss ----

    def cross_entropy(self, x: Array, labels: Array) -> Array:
        """log Σ exp(x) − x[label] for each pixel, without overflow: (N, …)."""

    def cross_entropy_grad(self, gy: Array, x: Array, labels: Array) -> Array:
        """gy · (softmax(x) − one-hot(label)): gy (N, …) → (N, C, …)."""

    def take_class(self, x: Array, labels: Array) -> Array:
        """x[n, label, …] for each pixel, 0 where the label is −1: (N, C, …) → (N, …)."""

    def put_class(self, values: Array, labels: Array, classes: int) -> Array:
        """Adjoint of take_class: (N, …) → (N, C, …) with C = classes."""

    # ---- normalization: x (N, C, …), vectors (C,), invstd = 1 / √(var + eps) ----

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of each channel; exact also where the mean is large."""

    def batch_norm(
        self, x: Array, mean: Array, invstd: Array, weight: Array, bias: Array, relu: bool = False
    ) -> Array:
        """(x − mean) · invstd · weight + bias, or max(that, 0)."""

    def batch_norm_grad(
        self, gy: Array, x: Array, mean: Array, invstd: Array, weight: Array, share: float,
        y: Array | None = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """weight · invstd · (gy − share · (Σ gy + x̂ · Σ gy · x̂)), and for each channel Σ gy and
        Σ gy · x̂, with x̂ = (x − mean) · invstd.

        With the output y of a batch_norm with ``relu``, gy is taken as 0 where y ≤ 0.
        """

    def local_response_norm(
        self, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        """x / s^beta with s = k + alpha / size · Σ x², over the channels c − size // 2 …
        c + (size − 1) // 2 around channel c that exist."""

    def local_response_norm_grad(
        self, gy: Array, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        """gy / s^beta − 2 alpha beta / size · x · Σ gy x / s^(beta + 1), the sum over the
        channels in whose window this one lies."""

    # ---- dropout: linear and its own adjoint ----

    def dropout(self, x: Array, p: float, seed: int) -> Array:
        """Element i is 0 if random number i is below p · 2³², else x / (1 − p); 0 < p < 1.

        i numbers the elements in (N, H, W, C) order for 4-D x, else in C order. Random numbers
        2w and 2w + 1 are the lower and upper 32 bits of SplitMix64 word w of ``seed`` (64 bits).
        """

    # ---- optimizers: in place; all arrays have one shape, and may lie differently in memory ----

    def sgd_update(
        self, param: Array, grad: Array, velocity: Array | None,
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """d = grad + weight_decay · param;  v = momentum · v + gain · d;  param −= step · v
        (with nesterov: step · (d + momentum · v); without velocity: step · d)."""

    def adam_update(
        self, param: Array, grad: Array, first: Array, second: Array,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        """d = grad + weight_decay · param;  m = beta1 · m + (1 − beta1) · d;
        v = beta2 · v + (1 − beta2) · d²;
        param = shrink · param − step · m / (√v / correction + eps)."""
