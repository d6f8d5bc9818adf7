// Matrix product C = A B: (M, K) and (K, N) give (M, N).
//
//   kernel   NumPy twin   what it adds                                  grid           block
//   gemm_1   a @ b        nothing: a thread sums up an element of C      N/16, M/16     16, 16
//   gemm_2                tiles of A and B in shared memory: an element  N/16, M/16     16, 16
//                         read from global memory serves 16 threads
//   gemm_3                4 x 4 sums of a thread in registers: two       N/64, M/64     16, 16
//                         shared loads for four products, not for one
//   gemm_4                128-bit loads and stores, 8 x 4 sums, double   N/64, M/64     128
//                         buffering; no bank conflict over two ways: see tile.cuh
//   gemm_5                128 x 128 tiles and 8 x 8 sums: 16 elements     N/128, M/128   256
//                         read for 64 products, not 12 for 32
//   gemm_6                copies to shared memory that take no           N/128, M/128   256
//                         registers and no waiting: see pipeline.cuh
//   gemm_7                tensor cores, whose operands have fewer bits:  N/128, M/128   128
//                         see tensor.cuh; and shares of long sums        , shares
//
// Element (m, k) of A stands at a[m * a_row + k * a_column], and B likewise, so that a transposed
// matrix is one with its strides swapped; C is C-contiguous. Any M, N, K.
//
// Run:  tinyfcn kernels run gemm_4

#include "tensor.cuh"

template <typename T>
__global__ void gemm_1(const T* __restrict__ a, i64 a_row, i64 a_column, const T* __restrict__ b,
                       i64 b_row, i64 b_column, T* __restrict__ c, int M, int N, int K) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    const int m = blockIdx.y * blockDim.y + threadIdx.y;
    if (m >= M || n >= N) return;
    T sum = 0;
    for (int k = 0; k < K; k++) sum += a[m * a_row + k * a_column] * b[k * b_row + n * b_column];
    c[(i64)m * N + n] = sum;
}

constexpr int SIDE = 16;  // of a block, and of a tile of gemm_2

template <typename T>
__global__ void gemm_2(const T* __restrict__ a, i64 a_row, i64 a_column, const T* __restrict__ b,
                       i64 b_row, i64 b_column, T* __restrict__ c, int M, int N, int K) {
    __shared__ T left[SIDE][SIDE], right[SIDE][SIDE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int n = blockIdx.x * SIDE + x, m = blockIdx.y * SIDE + y;
    T sum = 0;
    for (int k0 = 0; k0 < K; k0 += SIDE) {
        left[y][x] = m < M && k0 + x < K ? a[m * a_row + (k0 + x) * a_column] : T(0);
        right[y][x] = k0 + y < K && n < N ? b[(k0 + y) * b_row + n * b_column] : T(0);
        __syncthreads();
        for (int k = 0; k < SIDE; k++) sum += left[y][k] * right[k][x];
        __syncthreads();
    }
    if (m < M && n < N) c[(i64)m * N + n] = sum;
}

constexpr int EACH = 4;  // rows and columns of a thread of gemm_3, SIDE apart

template <typename T>
__global__ void gemm_3(const T* __restrict__ a, i64 a_row, i64 a_column, const T* __restrict__ b,
                       i64 b_row, i64 b_column, T* __restrict__ c, int M, int N, int K) {
    __shared__ T left[SIDE][TILE + 1], right[SIDE][TILE];  // k first; + 1 against bank conflicts
    const int x = threadIdx.x, y = threadIdx.y;
    const int n0 = blockIdx.x * TILE, m0 = blockIdx.y * TILE;
    T sum[EACH][EACH] = {};
    for (int k0 = 0; k0 < K; k0 += SIDE) {
        for (int i = 0; i < EACH; i++) {
            const int row = y + i * SIDE, m = m0 + row;
            left[x][row] = m < M && k0 + x < K ? a[m * a_row + (k0 + x) * a_column] : T(0);
            const int column = x + i * SIDE, n = n0 + column;
            right[y][column] = k0 + y < K && n < N ? b[(k0 + y) * b_row + n * b_column] : T(0);
        }
        __syncthreads();
        for (int k = 0; k < SIDE; k++) {
            T rows[EACH], columns[EACH];
            for (int i = 0; i < EACH; i++) rows[i] = left[k][y + i * SIDE];
            for (int j = 0; j < EACH; j++) columns[j] = right[k][x + j * SIDE];
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++) sum[i][j] += rows[i] * columns[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            const int m = m0 + y + i * SIDE, n = n0 + x + j * SIDE;
            if (m < M && n < N) c[(i64)m * N + n] = sum[i][j];
        }
}

// A tile of sums, to its place in C.
template <typename T, int COLUMNS>
__device__ void write_matrix(const T (&sum)[ROWS][COLUMNS], T* c, int m0, int n0, int M, int N) {
    T* corner = c + (i64)m0 * N + n0;
    write(sum, M - m0, N - n0, N % Vector<T>::SIZE == 0 && aligned(c),
          [&](int row, int column) { return corner + (i64)row * N + column; });
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
gemm_4(const T* __restrict__ a, i64 a_row, i64 a_column, const T* __restrict__ b, i64 b_row,
       i64 b_column, T* __restrict__ c, int M, int N, int K) {
    __shared__ Slices<T> slices;
    const int n0 = blockIdx.x * TILE, m0 = blockIdx.y * TILE;
    MatrixLoader<T> left(a + m0 * a_row, a_row, a_column, M - m0, K);
    MatrixLoader<T> right(b + n0 * b_column, b_column, b_row, N - n0, K);
    T sum[ROWS][COLUMNS];
    multiply(slices, left, right, 0, K, sum);
    write_matrix(sum, c, m0, n0, M, N);
}

constexpr int WIDE = 8;  // columns of a thread of gemm_5

__global__ void __launch_bounds__(256)
gemm_5(const float* __restrict__ a, i64 a_row, i64 a_column, const float* __restrict__ b,
       i64 b_row, i64 b_column, float* __restrict__ c, int M, int N, int K) {
    __shared__ Slices<float, WIDE> slices;
    const int n0 = blockIdx.x * Sizes<WIDE>::TILE, m0 = blockIdx.y * Sizes<WIDE>::TILE;
    MatrixLoader<float, WIDE> left(a + m0 * a_row, a_row, a_column, M - m0, K);
    MatrixLoader<float, WIDE> right(b + n0 * b_column, b_column, b_row, N - n0, K);
    float sum[ROWS][WIDE];
    multiply(slices, left, right, 0, K, sum);
    write_matrix(sum, c, m0, n0, M, N);
}

__global__ void __launch_bounds__(256, 2)
gemm_6(const float* __restrict__ a, i64 a_row, i64 a_column, const float* __restrict__ b,
       i64 b_row, i64 b_column, float* __restrict__ c, int M, int N, int K) {
    __shared__ Panels panels[STAGES];
    const int n0 = blockIdx.x * LINES, m0 = blockIdx.y * LINES;
    auto left = matrix<256, i64>(a, M, a_row, m0, K, a_column, 0);
    auto right = matrix<256, i64>(b, N, b_column, n0, K, b_row, 0);
    // A thread has every 16th row and column, so that its neighbours read the lines beside its own.
    const int y = threadIdx.x % 32 / 8 + threadIdx.x / 64 * 4;
    const int x = threadIdx.x % 8 + threadIdx.x / 32 % 2 * 8;
    float sum[ROWS][WIDE] = {};
    pipeline<1>(panels, left, right, 0, K, [&](const Panel& rows, const Panel& columns, int) {
#pragma unroll 1  // not all at once: with 128 registers, two blocks have room on a multiprocessor
        for (int v = 0; v < LINE / 16; v++) {
            Vector<float> column[WIDE];
#pragma unroll
            for (int j = 0; j < WIDE; j++)
                column[j] = ((const Vector<float>*)columns[x + j * 16])[place_of(x, v)];
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                const auto row = ((const Vector<float>*)rows[y + i * 16])[place_of(y, v)];
#pragma unroll
                for (int e = 0; e < 4; e++)
#pragma unroll
                    for (int j = 0; j < WIDE; j++) sum[i][j] += row.at[e] * column[j].at[e];
            }
        }
    });
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < WIDE; j++) {
            const int m = m0 + y + i * 16, n = n0 + x + j * 16;
            if (m < M && n < N) c[(i64)m * N + n] = sum[i][j];
        }
}

// Grid z: shares of the terms, `share` each, a multiple of 32; parts (S, M, N) is for finish_parts of
// conv2d_tensor.cu to add up. Without parts the one share goes to c.
template <typename Product>
__global__ void __launch_bounds__(TENSOR_THREADS, 2)
gemm_7(const stored<Product>* __restrict__ a, i64 a_row, i64 a_column,
       const stored<Product>* __restrict__ b, i64 b_row, i64 b_column,
       stored<Product>* __restrict__ c, float* __restrict__ parts, int M, int N, int K, int share) {
    __shared__ Panels panels[STAGES];
    const int n0 = blockIdx.x * LINES, m0 = blockIdx.y * LINES, from = blockIdx.z * share;
    auto left = matrix<TENSOR_THREADS, i64>(a, M, a_row, m0, K, a_column, from);
    auto right = matrix<TENSOR_THREADS, i64>(b, N, b_column, n0, K, b_row, from);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, K - from < share ? K : from + share, M - m0,
                             N - n0, sum);
    const auto write = [&](auto* to) {
        write_tensor(sum, M - m0, N - n0, N % 2 == 0 && aligned(to), N,
                     [=](int column) { return to + ((i64)blockIdx.z * M + m0) * N + n0 + column; });
    };
    parts ? write(parts) : write(c);
}
