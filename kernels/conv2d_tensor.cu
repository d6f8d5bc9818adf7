// Convolution on tensor cores: the products of conv2d.cu, in those of gemm_7. Operands are rounded,
// arrays and sums float32.
//
//   kernel                      NumPy twin           rows     columns       summed over
//   conv2d_tensor               conv2d               OC / G   N OH OW       C / G, KH, KW
//   conv2d_tensor_input_grad    conv2d_input_grad    C / G    N H W         OC / G, KH, KW
//   conv2d_tensor_weight_grad   conv2d_weight_grad   OC / G   C / G KH KW   N, OH, OW
//   finish_parts                parts.sum(axis=0)    of the first two, with bias and ReLU
//
// Grid: columns / 128, rows / 128, G * S. Sums are cut into S shares of `share` terms, a multiple of
// 16, where there are few blocks; with S > 1 results are parts (S, ...), and bias is null. For what is
// not said here see conv2d.cu.
//
// Over conv2d.cu it gains what gemm_7 gains over gemm_4. An operand is an array seen along two axes,
// so that there is one loader: windows are the lines in conv2d, and the terms in its weight gradient.
//
// Run:  tinyfcn kernels run conv2d_tensor

#include "conv_sizes.cuh"
#include "tensor.cuh"

// An axis whose index is (image, row, column), row by row: pixels, or the taps of a kernel in all
// channels. See MatrixAxis. Offsets on it fit into an int, if it is within an image, or the weights.
template <typename Offset> struct ImageAxis {
    int count, rows, columns;
    Offset per_image, per_row, per_column;  // elements of the array from one index to the next
    int down, right, top, left;             // rows and columns of an image; where index 0 is

    __device__ Point place(int index, Offset at, int row, int column) const {
        return {at, index < count ? top + row * down : OUTSIDE, left + column * right};
    }
    __device__ Offset at(int index) const {
        const int row = index / columns % rows, column = index % columns;
        return index / columns / rows * per_image + row * per_row + column * per_column;
    }
    __device__ Point point(int index) const {
        return place(index, at(index), index / columns % rows, index % columns);
    }

    struct Walk;
    __device__ Walk along(int index, int step) const {
        return {*this, index, step, index / columns % rows, index % columns,
                step / columns % rows, step % columns, at(index), at(step)};
    }
};

template <typename Offset> struct ImageAxis<Offset>::Walk {
    ImageAxis axis;
    int index, step, row, column, row_step, column_step;
    Offset at, at_step;

    __device__ Point next() {
        const Point now = axis.place(index, at, row, column);
        index += step;
        at += at_step;
        row += row_step;
        column += column_step;
        if (column >= axis.columns) {
            column -= axis.columns;
            row++;
            at += axis.per_row - axis.columns * axis.per_column;
        }
        if (row >= axis.rows) {
            row -= axis.rows;
            at += axis.per_image - axis.rows * axis.per_row;
        }
        return now;
    }
};

template <typename Lines, typename Terms> using Columns = Operand<TENSOR_THREADS, Lines, Terms>;
template <typename Terms> using Rows = Operand<TENSOR_THREADS, MatrixAxis, Terms>;
typedef ImageAxis<int> Near;
typedef ImageAxis<i64> Far;

// Where the windows of x begin, and the taps of a window; together x at (n, c, oh SH - PH + i DH, ..),
// counted from before the padding.
#define WINDOWS Far{N * OH * OW, OH, OW, (i64)C * H * W, SH * W, SW, SH, SW, -PH, -PW}
#define TAPS Near{C / G * KH * KW, KH, KW, H * W, DH * W, DW, DH, DW, 0, 0}

// The last term of a share, and one.
__device__ inline int end_of(int from, int share, int terms) {
    return terms - from < share ? terms : from + share;
}

// Adds bias[row], where there is one, and cuts off below 0 with `relu`.
__device__ inline void finish_tensor(Sums& sum, const float* bias, int rows, bool relu) {
#pragma unroll
    for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int row = tensor_row(i) + e / 2 * 8;
            const float add = bias && row < rows ? bias[row] : 0;
#pragma unroll
            for (int j = 0; j < ACROSS; j++) {
                const float v = sum[i][j][e] + add;
                sum[i][j][e] = relu && v < 0 ? 0 : v;  // NaN stays
            }
        }
}

template <typename Product>
__global__ void __launch_bounds__(TENSOR_THREADS, 2)
conv2d_tensor(const float* __restrict__ x, const float* __restrict__ weight,
              const float* __restrict__ bias, float* __restrict__ y, CONV_SIZES, int relu, int share) {
    __shared__ Panels panels[STAGES];
    const int rows = OC / G, terms = C / G * KH * KW, pixels = OH * OW, columns = N * pixels;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x * LINES;
    const int group = blockIdx.z % G, part = blockIdx.z / G, from = part * share;
    auto left = matrix<TENSOR_THREADS>(weight + (i64)group * rows * terms, rows, terms, row0, terms,
                                       1, from);
    Columns<Far, Near> right(x + (i64)group * (C / G) * H * W - PH * W - PW, WINDOWS, column0, TAPS,
                             from, H, W, false);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, end_of(from, share, terms),
                             rows - row0, columns - column0, sum);

    const int oc0 = group * rows + row0;
    finish_tensor(sum, bias ? bias + oc0 : bias, rows - row0, relu);
    float* own = y + ((i64)part * N * OC + oc0) * pixels;
    write_tensor(sum, rows - row0, columns - column0, pixels % 2 == 0 && aligned(y), pixels,
                 [&](int column) {
                     const int p = column0 + column;
                     return own + (i64)(p / pixels) * OC * pixels + p % pixels;
                 });
}

// Grid x: SH * SW * (columns of the largest phase) / 128.
template <typename Product>
__global__ void __launch_bounds__(TENSOR_THREADS, 2)
conv2d_tensor_input_grad(const float* __restrict__ gy, const float* __restrict__ weight,
                         const float* __restrict__ bias, float* __restrict__ gx, CONV_SIZES,
                         int relu, int share) {
    __shared__ Panels panels[STAGES];
    const int rows = C / G, channels = OC / G;
    const int tiles = gridDim.x / (SH * SW), phase = blockIdx.x / tiles;
    const Phase down(phase / SW, H, KH, SH, PH, DH), across(phase % SW, W, KW, SW, PW, DW);
    const int pixels = down.pixels * across.pixels, columns = N * pixels;
    const int terms = channels * down.taps * across.taps;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x % tiles * LINES;
    const int group = blockIdx.z % G, part = blockIdx.z / G, from = part * share;
    if (column0 >= columns) return;

    const int taps_down = terms ? down.taps : 1, taps_across = terms ? across.taps : 1;
    const float* tap = weight + (i64)group * channels * rows * KH * KW;
    const float* pixel = gy + (i64)group * channels * OH * OW;
    Rows<Near> left(tap + down.first * KW + across.first, {rows, KH * KW}, row0,
                    {terms, taps_down, taps_across, rows * KH * KW, down.step * KW, across.step,
                     0, 0, 0, 0},
                    from, 1, 1, false);
    Columns<Far, Near> right(pixel + down.start * OW + across.start,
                             {columns, down.pixels, across.pixels, (i64)OC * OH * OW, OW, 1,
                              1, 1, down.start, across.start},
                             column0,
                             {terms, taps_down, taps_across, OH * OW, -down.apart * OW, -across.apart,
                              -down.apart, -across.apart, 0, 0},
                             from, OH, OW, false);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, end_of(from, share, terms),
                             rows - row0, columns - column0, sum);

    const int c0 = group * rows + row0;
    finish_tensor(sum, bias ? bias + c0 : bias, rows - row0, relu);
    float* own = gx + ((i64)part * N * C + c0) * H * W;
    write_tensor(sum, rows - row0, columns - column0, SH * SW == 1 && pixels % 2 == 0 && aligned(gx),
                 (i64)H * W, [&](int column) {
                     const int p = column0 + column, q = p % pixels;
                     const int h = phase / SW + q / across.pixels * SH;
                     const int w = phase % SW + q % across.pixels * SW;
                     return own + ((i64)(p / pixels) * C * H + h) * W + w;
                 });
}

template <typename Product>
__global__ void __launch_bounds__(TENSOR_THREADS, 2)
conv2d_tensor_weight_grad(const float* __restrict__ x, const float* __restrict__ gy,
                          float* __restrict__ parts, CONV_SIZES, int share) {
    __shared__ Panels panels[STAGES];
    const int rows = OC / G, pixels = OH * OW, columns = C / G * KH * KW, terms = N * pixels;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x * LINES;
    const int group = blockIdx.z % G, part = blockIdx.z / G, from = part * share;
    const float* grad = gy + (i64)group * rows * pixels;
    Rows<Far> left(grad, {rows, pixels}, row0,
                   {terms, 1, pixels, (i64)OC * pixels, 0, 1, 0, 0, 0, 0}, from, 1, 1,
                   pixels % 4 == 0 && aligned(grad));
    // Four windows side by side see four pixels that are so too, if none reaches into the padding.
    const float* image = x + (i64)group * (C / G) * H * W;
    const bool vectors =
        KW == 1 && SW == 1 && PW == 0 && W % 4 == 0 && OW % 4 == 0 && aligned(image);
    Columns<Near, Far> right(image - PH * W - PW, TAPS, column0, WINDOWS, from, H, W, vectors);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, end_of(from, share, terms),
                             rows - row0, columns - column0, sum);
    float* corner = parts + ((i64)part * OC + group * rows + row0) * columns + column0;
    write_tensor(sum, rows - row0, columns - column0, columns % 2 == 0 && aligned(parts), columns,
                 [&](int column) { return corner + column; });
}

// y (N, channels, pixels): the parts of each element, first to last.
__global__ void finish_parts(const float* __restrict__ parts, const float* __restrict__ bias,
                             float* __restrict__ y, int S, int channels, int pixels, int relu,
                             i64 count) {
    FOR_EACH(i, count) {
        float sum = bias ? bias[quotient(i, pixels) % channels] : 0;
        for (int s = 0; s < S; s++) sum += parts[s * count + i];
        y[i] = relu && sum < 0 ? 0 : sum;
    }
}
