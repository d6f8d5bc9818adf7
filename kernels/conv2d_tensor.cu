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
// The first two sum tap by tap, and for each over the channels, with zeros up to whole vectors: weights
// are given as (OC, KH, KW, room for C / G) and (G, C / G, KH, KW, room for OC / G). So weights are
// copied by vectors, and where in an image a tap meets a window is looked up once for a vector.
//
// Run:  tinyfcn kernels run conv2d_tensor

#include "conv_sizes.cuh"
#include "tensor.cuh"

// An axis whose index counts three things, the last one fastest: images and their rows and columns; or,
// where that is a TAP, rows and columns of a kernel and channels. See MatrixAxis. Offsets fit into an
// int within an image, or the weights.
struct Place {
    int first, second, third;
};
template <typename Offset, bool TAP> struct ImageAxis {
    static constexpr bool ALIKE = TAP;
    int firsts, seconds, thirds;
    int per_first, per_second, per_third;  // elements of the array from one to the next
    int down, right, top, left;            // rows and columns of an image; where the first is
    int channels;                          // of a TAP; there may be room for more

    __device__ Place place(int index) const {
        return {index / thirds / seconds, index / thirds % seconds, index % thirds};
    }
    __device__ Point<Offset> point(const Place& at) const {
        const int row = TAP ? at.first : at.second, column = TAP ? at.second : at.third;
        return {(Offset)at.first * per_first + (at.second * per_second + at.third * per_third),
                at.first < firsts && (!TAP || at.third < channels),
                top + row * down, left + column * right};
    }
    __device__ Point<Offset> point(int index) const { return point(place(index)); }

    struct Walk;
    __device__ Walk along(int index, int step) const { return {*this, place(index), place(step)}; }
};

template <typename Offset, bool TAP> struct ImageAxis<Offset, TAP>::Walk {
    ImageAxis axis;
    Place at, step;

    __device__ Point<Offset> next() {
        const Place now = at;
        at = behind(step);
        return axis.point(now);
    }
    __device__ Point<Offset> beside() const {
        if constexpr (TAP) return axis.point(Place{at.first, at.second, at.third + 1});
        return axis.point(behind({0, 0, 1}));
    }

private:
    __device__ Place behind(const Place& by) const {
        Place to = {at.first + by.first, at.second + by.second, at.third + by.third};
        if (to.third >= axis.thirds) to.third -= axis.thirds, to.second++;
        if (to.second >= axis.seconds) to.second -= axis.seconds, to.first++;
        return to;
    }
};

template <typename T, typename Lines, typename Terms>
using Columns = Operand<TENSOR_THREADS, T, Lines, Terms>;
template <typename T, typename Terms> using Rows = Operand<TENSOR_THREADS, T, MatrixAxis<int>, Terms>;
typedef ImageAxis<int, true> Taps;
typedef ImageAxis<int, false> Near;
typedef ImageAxis<i64, false> Far;

// Where the windows of x begin, and the taps of a window; together x at (n, c, oh SH - PH + i DH, ..),
// counted from before the padding.
#define WINDOWS Far{N, OH, OW, C * H * W, SH * W, SW, SH, SW, -PH, -PW, 0}
#define BY_CHANNEL Near{C / G, KH, KW, H * W, DH * W, DW, DH, DW, 0, 0, 0}
#define BY_TAP Taps{KH, KW, room, DH * W, DW, H * W, DH, DW, 0, 0, C / G}

template <typename T> __device__ int room_of(int channels) {
    return (channels + Vector<T>::SIZE - 1) / Vector<T>::SIZE * Vector<T>::SIZE;
}

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
    const int rows = OC / G, room = room_of<T>(C / G), terms = KH * KW * room;
    const int pixels = OH * OW, columns = N * pixels;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x * LINES;
    const int group = blockIdx.z % G, part = blockIdx.z / G, from = part * share;
    auto left = matrix<TENSOR_THREADS, int>(weight + (i64)group * rows * terms, rows, terms, row0,
                                            terms, 1, from);
    Columns<T, Far, Taps> right(x + (i64)group * (C / G) * H * W - PH * W - PW, WINDOWS, column0,
                                BY_TAP, from, H, W, false);
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
    __shared__ Panels panels[STAGES];
    const int rows = C / G, channels = OC / G, room = room_of<T>(channels);
    const int tiles = gridDim.x / (SH * SW), phase = blockIdx.x / tiles;
    const Phase down(phase / SW, H, KH, SH, PH, DH), across(phase % SW, W, KW, SW, PW, DW);
    const int pixels = down.pixels * across.pixels, columns = N * pixels;
    const int terms = down.taps * across.taps * room;
    const int row0 = blockIdx.y * LINES, column0 = blockIdx.x % tiles * LINES;
    const int group = blockIdx.z % G, part = blockIdx.z / G, from = part * share;
    if (column0 >= columns) return;

    const int taps_down = terms ? down.taps : 1, taps_across = terms ? across.taps : 1;
    const T* tap = weight + (i64)group * rows * KH * KW * room;
    const T* pixel = gy + (i64)group * channels * OH * OW;
    Rows<T, Taps> left(tap + (down.first * KW + across.first) * room, {rows, KH * KW * room}, row0,
                       {taps_down, taps_across, room, down.step * KW * room, across.step * room, 1,
                        0, 0, 0, 0, room},
                       from, 1, 1, aligned(tap));
    Columns<T, Far, Taps> right(pixel + down.start * OW + across.start,
                                {N, down.pixels, across.pixels, OC * OH * OW, OW, 1,
                                 1, 1, down.start, across.start, 0},
                                column0,
                                {taps_down, taps_across, room, -down.apart * OW, -across.apart,
                                 OH * OW, -down.apart, -across.apart, 0, 0, channels},
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
                      {N, 1, pixels, OC * pixels, 0, 1, 0, 0, 0, 0, 0}, from, 1, 1,
                      pixels % V == 0 && aligned(grad));
    // Windows side by side see pixels that are so too. If none reaches into the padding they may be
    // vectors; or else begin at any address.
    const T* image = x + (i64)group * (C / G) * H * W;
    const bool row = SW == 1 && OW % V == 0;
    const bool vectors = row && KW == 1 && PW == 0 && W % V == 0 && aligned(image);
    const i64 all = (i64)N * C * H * W;
    const bool anywhere = sizeof(T) == 2 && row && !vectors && all % V == 0 && aligned(x);
    Columns<T, Near, Far> right(image - PH * W - PW, BY_CHANNEL, column0, WINDOWS, from, H, W,
                                vectors || anywhere, anywhere ? x : nullptr, x + all);
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
