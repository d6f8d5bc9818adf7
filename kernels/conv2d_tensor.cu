// Convolution on tensor cores: the products of conv2d.cu, in those of gemm_7.
//
//   kernel                      NumPy twin           rows     columns       summed over
//   conv2d_tensor               conv2d               OC / G   N OH OW       C / G, KH, KW
//   conv2d_tensor_input_grad    conv2d_input_grad    C / G    N H W         OC / G, KH, KW
//   conv2d_tensor_weight_grad   conv2d_weight_grad   OC / G   C / G KH KW   N, OH, OW
//   finish_parts                parts.sum(axis=0)    of the first two, with bias and ReLU
//
// Grid: columns / 128, rows / 128, G * S. Sums are cut into S shares of `share` terms, a multiple of
// 32, where there are few blocks; with S > 1 results are parts (S, ...), and bias is null. Without
// parts, results are rounded to half. For what is not said here see conv2d.cu.
//
// Over conv2d.cu it gains what gemm_7 gains over gemm_4. An operand is an array seen along two axes,
// so that there is one loader: windows are the lines in conv2d, and the terms in its weight gradient.
//
// Run:  tinyfcn kernels run conv2d_tensor

#include "conv_sizes.cuh"
#include "tensor.cuh"

// An axis whose index counts (image, row, column), row by row: pixels, or the taps of a kernel in all
// channels. See MatrixAxis. Offsets on it fit into an int, if it is within an image, or the weights.
struct Place {
    int image, row, column;
};
template <typename Offset> struct ImageAxis {
    int images, rows, columns;
    int per_image, per_row, per_column;  // elements of the array from one to the next
    int down, right, top, left;          // rows and columns of an image; where the first is

    __device__ Place place(int index) const {
        return {index / columns / rows, index / columns % rows, index % columns};
    }
    __device__ Point<Offset> point(const Place& at) const {
        return {(Offset)at.image * per_image + (at.row * per_row + at.column * per_column),
                at.image < images ? top + at.row * down : OUTSIDE, left + at.column * right};
    }
    __device__ Point<Offset> point(int index) const { return point(place(index)); }

    struct Walk;
    __device__ Walk along(int index, int step) const { return {*this, place(index), place(step)}; }
};

template <typename Offset> struct ImageAxis<Offset>::Walk {
    ImageAxis axis;
    Place at, step;

    __device__ Point<Offset> next() {
        const Place now = at;
        at = behind(step);
        return axis.point(now);
    }
    __device__ Point<Offset> beside() const { return axis.point(behind({0, 0, 1})); }

private:
    __device__ Place behind(const Place& by) const {
        Place to = {at.image + by.image, at.row + by.row, at.column + by.column};
        if (to.column >= axis.columns) to.column -= axis.columns, to.row++;
        if (to.row >= axis.rows) to.row -= axis.rows, to.image++;
        return to;
    }
};

template <typename T, typename Lines, typename Terms>
using Columns = Operand<TENSOR_THREADS, T, Lines, Terms>;
template <typename T, typename Terms> using Rows = Operand<TENSOR_THREADS, T, MatrixAxis<int>, Terms>;
typedef ImageAxis<int> Near;
typedef ImageAxis<i64> Far;

// Where the windows of x begin, and the taps of a window; together x at (n, c, oh SH - PH + i DH, ..),
// counted from before the padding.
#define WINDOWS Far{N, OH, OW, C * H * W, SH * W, SW, SH, SW, -PH, -PW}
#define TAPS Near{C / G, KH, KW, H * W, DH * W, DW, DH, DW, 0, 0}

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
conv2d_tensor(const stored<Product>* __restrict__ x, const stored<Product>* __restrict__ weight,
              const float* __restrict__ bias, stored<Product>* __restrict__ y,
              float* __restrict__ parts, CONV_SIZES, int relu, int share) {
    typedef stored<Product> T;
    __shared__ Panels panels[STAGES];
    const int rows = OC / G, terms = C / G * KH * KW, pixels = OH * OW, columns = N * pixels;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x * LINES;
    const int group = blockIdx.z % G, part = blockIdx.z / G, from = part * share;
    auto left = matrix<TENSOR_THREADS, int>(weight + (i64)group * rows * terms, rows, terms, row0,
                                            terms, 1, from);
    Columns<T, Far, Near> right(x + (i64)group * (C / G) * H * W - PH * W - PW, WINDOWS, column0,
                                TAPS, from, H, W, false);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, end_of(from, share, terms),
                             rows - row0, columns - column0, sum);

    const int oc0 = group * rows + row0;
    finish_tensor(sum, bias ? bias + oc0 : bias, rows - row0, relu);
    const auto write = [&](auto* to) {
        auto* own = to + ((i64)part * N * OC + oc0) * pixels;
        write_tensor(sum, rows - row0, columns - column0, pixels % 2 == 0 && aligned(to), pixels,
                     [=](int column) {
                         const int p = column0 + column;
                         return own + (i64)(p / pixels) * OC * pixels + p % pixels;
                     });
    };
    parts ? write(parts) : write(y);
}

// Grid x: SH * SW * (columns of the largest phase) / 128.
template <typename Product>
__global__ void __launch_bounds__(TENSOR_THREADS, 2)
conv2d_tensor_input_grad(const stored<Product>* __restrict__ gy,
                         const stored<Product>* __restrict__ weight, const float* __restrict__ bias,
                         stored<Product>* __restrict__ gx, float* __restrict__ parts, CONV_SIZES,
                         int relu, int share) {
    typedef stored<Product> T;
    constexpr bool TURNED = sizeof(T) == 2;
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
    const T* tap = weight + (i64)group * channels * rows * KH * KW;
    const T* pixel = gy + (i64)group * channels * OH * OW;
    const bool vectors = TURNED && SH * SW == 1 && terms % Vector<T>::SIZE == 0 && aligned(tap);
    Rows<T, Near> left(tap + down.first * KW + across.first,
                       {rows, (TURNED ? channels : 1) * KH * KW}, row0,
                       {channels, taps_down, taps_across, (TURNED ? 1 : rows) * KH * KW,
                        down.step * KW, across.step, 0, 0, 0, 0},
                       from, 1, 1, vectors);
    Columns<T, Far, Near> right(pixel + down.start * OW + across.start,
                                {N, down.pixels, across.pixels, OC * OH * OW, OW, 1,
                                 1, 1, down.start, across.start},
                                column0,
                                {channels, taps_down, taps_across, OH * OW, -down.apart * OW,
                                 -across.apart, -down.apart, -across.apart, 0, 0},
                                from, OH, OW, false);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, end_of(from, share, terms),
                             rows - row0, columns - column0, sum);

    const int c0 = group * rows + row0;
    finish_tensor(sum, bias ? bias + c0 : bias, rows - row0, relu);
    const auto write = [&](auto* to) {
        auto* own = to + ((i64)part * N * C + c0) * H * W;
        write_tensor(sum, rows - row0, columns - column0,
                     SH * SW == 1 && pixels % 2 == 0 && aligned(to), (i64)H * W, [=](int column) {
                         const int p = column0 + column, q = p % pixels;
                         const int h = phase / SW + q / across.pixels * SH;
                         const int w = phase % SW + q % across.pixels * SW;
                         return own + ((i64)(p / pixels) * C * H + h) * W + w;
                     });
    };
    parts ? write(parts) : write(gx);
}

template <typename Product>
__global__ void __launch_bounds__(TENSOR_THREADS, 2)
conv2d_tensor_weight_grad(const stored<Product>* __restrict__ x,
                          const stored<Product>* __restrict__ gy, float* __restrict__ parts,
                          CONV_SIZES, int share) {
    typedef stored<Product> T;
    constexpr int V = Vector<T>::SIZE;
    __shared__ Panels panels[STAGES];
    const int rows = OC / G, pixels = OH * OW, columns = C / G * KH * KW, terms = N * pixels;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x * LINES;
    const int group = blockIdx.z % G, from = blockIdx.z / G * share;
    const T* grad = gy + (i64)group * rows * pixels;
    Rows<T, Far> left(grad, {rows, pixels}, row0,
                      {N, 1, pixels, OC * pixels, 0, 1, 0, 0, 0, 0}, from, 1, 1,
                      pixels % V == 0 && aligned(grad));
    // Windows side by side see pixels that are so too, if none reaches into the padding.
    const T* image = x + (i64)group * (C / G) * H * W;
    const bool vectors =
        KW == 1 && SW == 1 && PW == 0 && W % V == 0 && OW % V == 0 && aligned(image);
    Columns<T, Near, Far> right(image - PH * W - PW, TAPS, column0, WINDOWS, from, H, W, vectors);
    Sums sum;
    multiply_tensor<Product>(panels, left, right, from, end_of(from, share, terms),
                             rows - row0, columns - column0, sum);
    float* corner = parts + ((i64)blockIdx.z * rows + row0) * columns + column0;  // z: (part, group)
    write_tensor(sum, rows - row0, columns - column0, columns % 2 == 0 && aligned(parts), columns,
                 [&](int column) { return corner + column; });
}

// y (N, channels, pixels): the parts of each element, first to last.
template <typename Product>
__global__ void finish_parts(const float* __restrict__ parts, const float* __restrict__ bias,
                             stored<Product>* __restrict__ y, int S, int channels, int pixels,
                             int relu, i64 count) {
    FOR_EACH(i, count) {
        float sum = bias ? bias[i / pixels % channels] : 0;
        for (int s = 0; s < S; s++) sum += parts[s * count + i];
        y[i] = stored<Product>(relu && sum < 0 ? 0 : sum);
    }
}
