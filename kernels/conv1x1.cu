// 1x1 convolution, and its input gradient: a plain product for every image, with bias and ReLU.
//
//   kernel    NumPy twin                    y (N, M, P) = A x (N, K, P) + bias (M,), or max(y, 0)
//   conv1x1   conv2d, conv2d_input_grad     P pixels of an image
//
// Element (m, k) of A stands at a[m * a_row + k * a_column]: the weights, or transposed for the
// gradient. Bias may be null.
//
// One version: gemm_4 with an image for B, pixels side by side, so that nothing is looked up.
//
// Run:  tinyfcn kernels run conv1x1

#include "tile.cuh"

template <typename T>
__global__ void __launch_bounds__(THREADS)
conv1x1(const T* __restrict__ a, i64 a_row, i64 a_column, const T* __restrict__ x,
        const T* __restrict__ bias, T* __restrict__ y, int M, int P, int K, int relu) {
    __shared__ Slices<T> slices;
    const int p0 = blockIdx.x * TILE, m0 = blockIdx.y * TILE;
    const i64 n = blockIdx.z;
    MatrixLoader<T> left(a + m0 * a_row, a_row, a_column, M - m0, K);
    MatrixLoader<T> right(x + n * K * P + p0, 1, P, P - p0, K);
    T sum[ROWS][COLUMNS];
    multiply(slices, left, right, 0, K, sum);
    finish(sum, bias ? bias + m0 : bias, M - m0, relu);
    T* corner = y + (n * M + m0) * P + p0;
    write(sum, M - m0, P - p0, P % Vector<T>::SIZE == 0 && aligned(y),
          [&](int row, int column) { return corner + (i64)row * P + column; });
}
