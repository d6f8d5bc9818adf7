// Convolution as an implicit matrix product: the columns of im2col are never written, a loader
// looks their elements up in the image while it fills shared memory.
//
//   kernel                 NumPy twin           C       rows     columns        summed over
//   conv2d                 conv2d               y       OC / G   N OH OW        C / G, KH, KW
//   conv2d_input_grad      conv2d_input_grad    gx      C / G    N H W          OC / G, KH, KW
//   conv2d_weight_grad     conv2d_weight_grad   parts   OC / G   C / G KH KW    N, OH, OW
//   sum_parts              parts.sum(axis=0)    gw
//
// x, gx (N, C, H, W); y, gy (N, OC, OH, OW); weight (OC, C / G, KH, KW); bias may be null. Any
// stride, padding, dilation and groups; a group is a product of its own.
//
// Over conv2d_direct.cu it gains what gemm_4 gains over gemm_1 (see gemm.cu and tile.cuh): every
// element fetched serves 64 products.
//
// Run:  tinyfcn kernels run conv2d

#include "conv_sizes.cuh"
#include "tile.cuh"

// Loads columns of windows: a thread has one pixel of the result, and goes on over channel, row and
// column of the kernel. Tap (c, i, j) is source pixel (c, top + i * down, left + j * right).
template <typename T> struct ColumnLoader {
    const T* image;  // channel 0 of the group
    int height, width, top, left;
    int rows, columns, down, right;  // of the kernel, and from tap to tap
    int terms;
    T held[SHARE];

    __device__ void fetch(int k0) {
        const int k = k0 + (int)threadIdx.x / TILE * SHARE;
        int j = k % columns, i = k / columns % rows, c = k / columns / rows;
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
            const int h = top + i * down, w = left + j * right;
            const bool inside = k + s < terms && within(h, height) && within(w, width);
            held[s] = inside ? image[(c * height + h) * width + w] : T(0);
            if (++j == columns) {
                j = 0;
                if (++i == rows) i = 0, c++;
            }
        }
    }

    __device__ void put(Slice<T>& slice) const {
#pragma unroll
        for (int s = 0; s < SHARE; s++)
            slice[threadIdx.x / TILE * SHARE + s][threadIdx.x % TILE] = held[s];
    }
};

// Grid: columns / 64, rows / 64, G.
template <typename T>
__global__ void __launch_bounds__(THREADS)
conv2d(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
       T* __restrict__ y, CONV_SIZES, int relu) {
    __shared__ Slices<T> slices;
    const int rows = OC / G, channels = C / G, terms = channels * KH * KW, pixels = OH * OW;
    const int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE, group = blockIdx.z;
    const int oc0 = group * rows + row0, columns = N * pixels;

    const int own = column0 + threadIdx.x % TILE;
    const int n = own / pixels, oh = own % pixels / OW, ow = own % OW;
    MatrixLoader<T> left(weight + (i64)oc0 * terms, terms, 1, rows - row0, terms);
    ColumnLoader<T> right = {
        x + ((i64)n * C + group * channels) * H * W,
        own < columns ? H : 0, W, oh * SH - PH, ow * SW - PW, KH, KW, DH, DW, terms, {}};
    T sum[ROWS][COLUMNS];
    multiply(slices, left, right, 0, terms, sum);

    finish(sum, bias ? bias + oc0 : bias, rows - row0, relu);
    write(sum, rows - row0, columns - column0, pixels % Vector<T>::SIZE == 0 && aligned(y),
          [&](int row, int column) {
              const int p = column0 + column;
              return y + ((i64)(p / pixels) * OC + oc0 + row) * pixels + p % pixels;
          });
}

// What the loaders below have in common: a thread has one term of a step, and every 8th line.
__device__ inline int own_term() { return threadIdx.x % DEPTH; }
__device__ inline int own_line(int s) { return threadIdx.x / DEPTH + s * (THREADS / DEPTH); }
template <typename T> __device__ void put_own(const T (&held)[SHARE], Slice<T>& slice) {
#pragma unroll
    for (int s = 0; s < SHARE; s++) slice[own_term()][own_line(s)] = held[s];
}

// Loads weights for the input gradient: line c and term (oc, i, j).
template <typename T> struct TapLoader {
    const T* weight;  // of the group, from the tile's first channel
    int lines, terms;
    int channels, KH, KW;  // from one oc to the next
    const Phase &y, &x;
    T held[SHARE];

    __device__ void fetch(int k0) {
        const int k = k0 + own_term();
        const int j = k % x.taps, i = k / x.taps % y.taps, oc = k / x.taps / y.taps;
        const int tap = (y.first + i * y.step) * KW + x.first + j * x.step;
        const T* from = weight + (i64)oc * channels * KH * KW + tap;
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
            const int line = own_line(s);
            held[s] = k < terms && line < lines ? from[line * KH * KW] : T(0);
        }
    }

    __device__ void put(Slice<T>& slice) const { put_own(held, slice); }
};

// Grid: SH * SW * (columns of the largest phase) / 64, rows / 64, G.
template <typename T>
__global__ void __launch_bounds__(THREADS)
conv2d_input_grad(const T* __restrict__ gy, const T* __restrict__ weight,
                  const T* __restrict__ bias, T* __restrict__ gx, CONV_SIZES) {
    __shared__ Slices<T> slices;
    const int rows = C / G, channels = OC / G;
    const int tiles = gridDim.x / (SH * SW), phase = blockIdx.x / tiles;
    const Phase down(phase / SW, H, KH, SH, PH, DH), across(phase % SW, W, KW, SW, PW, DW);
    const int pixels = down.pixels * across.pixels, columns = N * pixels;
    const int row0 = blockIdx.y * TILE, column0 = blockIdx.x % tiles * TILE, group = blockIdx.z;
    if (column0 >= columns) return;

    const int own = column0 + threadIdx.x % TILE;
    const int n = own / pixels, u = own % pixels / across.pixels, v = own % across.pixels;
    const int terms = channels * down.taps * across.taps;
    TapLoader<T> left = {
        weight + ((i64)group * channels * rows + row0) * KH * KW,
        rows - row0, terms, rows, KH, KW, down, across, {}};
    ColumnLoader<T> right = {
        gy + ((i64)n * OC + group * channels) * OH * OW,
        own < columns ? OH : 0, OW, down.start + u, across.start + v,
        down.taps, across.taps, -down.apart, -across.apart, terms, {}};
    T sum[ROWS][COLUMNS];
    multiply(slices, left, right, 0, terms, sum);

    const int c0 = group * rows + row0;
    finish(sum, bias ? bias + c0 : bias, rows - row0, false);
    const bool vectors = SH * SW == 1 && pixels % Vector<T>::SIZE == 0 && aligned(gx);
    write(sum, rows - row0, columns - column0, vectors, [&](int row, int column) {
        const int p = column0 + column, q = p % pixels;
        const int h = phase / SW + q / across.pixels * SH, w = phase % SW + q % across.pixels * SW;
        return gx + (((i64)(p / pixels) * C + c0 + row) * H + h) * W + w;
    });
}

// Where the kernel's element behind a column of the weight gradient looks, from the top left corner
// of a window; far outside if there is no such column.
struct Tap {
    int channel, h, w;
};

// The weight gradient is summed over pixels p = (n, oh, ow). Loads element (row, p) of gy.
template <typename T> struct GradLoader {
    const T* gy;  // of the group, from the tile's first row
    i64 image;    // elements from one image to the next
    int pixels, end, lines;
    T held[SHARE];

    __device__ void fetch(int k0) {
        const int p = k0 + own_term();
        const T* from = gy + p / pixels * image + p % pixels;
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
            const int line = own_line(s);
            held[s] = p < end && line < lines ? from[line * pixels] : T(0);
        }
    }
    __device__ void put(Slice<T>& slice) const { put_own(held, slice); }
};

// Loads what tap `column` sees of x from the window at p.
template <typename T> struct PatchLoader {
    const T* x;  // of the group
    i64 image;   // elements from one image to the next
    const Tap* taps;
    int H, W, OH, OW, SH, SW, PH, PW, end;
    T held[SHARE];

    __device__ void fetch(int k0) {
        const int p = k0 + own_term(), pixels = OH * OW;
        const int top = p % pixels / OW * SH - PH, left = p % OW * SW - PW;
        const T* from = x + p / pixels * image;
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
            const Tap tap = taps[own_line(s)];
            const int h = top + tap.h, w = left + tap.w;
            const bool inside = p < end && within(h, H) && within(w, W);
            held[s] = inside ? from[(tap.channel * H + h) * W + w] : T(0);
        }
    }
    __device__ void put(Slice<T>& slice) const { put_own(held, slice); }
};

// Grid: columns / 64, rows / 64, G * S. The pixels are shared out to S blocks, `share` each, which
// is a multiple of 16; parts (S, OC, C / G, KH, KW) is for sum_parts to add up.
template <typename T>
__global__ void __launch_bounds__(THREADS)
conv2d_weight_grad(const T* __restrict__ x, const T* __restrict__ gy, T* __restrict__ parts,
                   CONV_SIZES, int share) {
    __shared__ Slices<T> slices;
    __shared__ Tap taps[TILE];
    const int rows = OC / G, channels = C / G, columns = channels * KH * KW;
    const int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE;
    const int group = blockIdx.z % G, part = blockIdx.z / G;
    const int pixels = N * OH * OW, begin = part * share;
    const int end = pixels - begin < share ? pixels : begin + share;

    if (threadIdx.x < TILE) {
        const int column = column0 + threadIdx.x;
        taps[threadIdx.x] = {column / (KH * KW), column / KW % KH * DH, column % KW * DW};
        if (column >= columns) taps[threadIdx.x].h = -(1 << 30);
    }
    __syncthreads();

    const int oc0 = group * rows + row0;
    GradLoader<T> left = {
        gy + (i64)oc0 * OH * OW, (i64)OC * OH * OW, OH * OW, end, rows - row0, {}};
    PatchLoader<T> right = {
        x + (i64)group * channels * H * W, (i64)C * H * W, taps,
        H, W, OH, OW, SH, SW, PH, PW, end, {}};
    T sum[ROWS][COLUMNS];
    multiply(slices, left, right, begin, end, sum);

    T* corner = parts + ((i64)part * OC + oc0) * columns + column0;
    write(sum, rows - row0, columns - column0, columns % Vector<T>::SIZE == 0 && aligned(parts),
          [&](int row, int column) { return corner + (i64)row * columns + column; });
}

// The parts of each weight, first to last.
template <typename T>
__global__ void sum_parts(const T* __restrict__ parts, T* __restrict__ y, int S, i64 count) {
    FOR_EACH(i, count) {
        T sum = 0;
        for (int s = 0; s < S; s++) sum += parts[s * count + i];
        y[i] = sum;
    }
}
