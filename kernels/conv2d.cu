// Convolution as an implicit matrix product: the columns of im2col are never written, a loader
// looks their elements up in the image while it fills shared memory.
//
//   kernel                 NumPy twin           C       rows     columns        summed over
//   conv2d                 conv2d               y       OC / G   N OH OW        C / G, KH, KW
//   conv2d_input_grad      conv2d_input_grad    gx      C / G    N H W          OC / G, KH, KW
//   conv2d_weight_grad     conv2d_weight_grad   parts   OC / G   C / G KH KW    N, OH, OW
//   conv2d_grads           both, sum_pixels     gx, parts and the parts of the bias's gradient
//   sum_parts              parts.sum(axis=0)    gw
//
// x, gx (N, C, H, W); y, gy (N, OC, OH, OW); weight (OC, C / G, KH, KW); bias may be null. Any
// stride, padding, dilation and groups; a group is a product of its own.
//
// conv2d_grads is all that a training step wants of a layer, in one launch: some blocks have tiles of
// the input gradient, the others of the weight gradient. Both take gy as 0 where the output y of a
// ReLU is not above 0, while they load it; those of the first columns of weights add it up as well.
//
// Over conv2d_direct.cu it gains what gemm_4 gains over gemm_1 (see gemm.cu and tile.cuh): every
// element fetched serves 64 products.
//
// Run:  tinyfcn kernels run conv2d

#include "conv_sizes.cuh"
#include "tile.cuh"

// gradient[at], or 0 if it is outside, or where a ReLU has an output that is not above 0.
template <typename T>
__device__ T rectified(const T* gradient, const T* output, int at, bool inside) {
    T v = 0, passes = 1;
    if (inside) v = gradient[at];
    if (inside && output) passes = output[at];
    return passes > 0 ? v : T(0);
}

// Loads columns of windows: a thread has one pixel of the result, and goes on over channel, row and
// column of the kernel. Tap (c, i, j) is source pixel (c, top + i * down, left + j * right).
template <typename T> struct ColumnLoader {
    const T *image, *output;  // channel 0 of the group; what is taken, if not null, where output > 0
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
            held[s] = rectified(image, output, (c * height + h) * width + w, inside);
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
        x + ((i64)n * C + group * channels) * H * W, nullptr,
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

// Which tile a block computes.
struct Place {
    int x, y, z;
};
__device__ inline Place own_place() { return {(int)blockIdx.x, (int)blockIdx.y, (int)blockIdx.z}; }
// Number `block` of across x down x ...
__device__ inline Place place_of(int block, int across, int down) {
    return {block % across, block / across % down, block / across / down};
}
__device__ inline int tiles(int lines) { return (lines + TILE - 1) / TILE; }

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

// The tiles of one of SH * SW phases, of the largest.
__device__ inline int phase_tiles(int N, int H, int W, int SH, int SW) {
    return tiles(N * ((H + SH - 1) / SH) * ((W + SW - 1) / SW));
}

template <typename T>
__device__ void input_grad(Slices<T>& slices, Place block, const T* gy, const T* y, const T* weight,
                           const T* bias, T* gx, CONV_SIZES) {
    const int rows = C / G, channels = OC / G;
    const int all = phase_tiles(N, H, W, SH, SW), phase = block.x / all;
    const Phase down(phase / SW, H, KH, SH, PH, DH), across(phase % SW, W, KW, SW, PW, DW);
    const int pixels = down.pixels * across.pixels, columns = N * pixels;
    const int row0 = block.y * TILE, column0 = block.x % all * TILE, group = block.z;
    if (column0 >= columns) return;

    const int own = column0 + threadIdx.x % TILE;
    const int n = own / pixels, u = own % pixels / across.pixels, v = own % across.pixels;
    const int terms = channels * down.taps * across.taps;
    TapLoader<T> left = {
        weight + ((i64)group * channels * rows + row0) * KH * KW,
        rows - row0, terms, rows, KH, KW, down, across, {}};
    const i64 image = ((i64)n * OC + group * channels) * OH * OW;
    ColumnLoader<T> right = {
        gy + image, y ? y + image : y,
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

// Grid: SH * SW * (columns of the largest phase) / 64, rows / 64, G.
template <typename T>
__global__ void __launch_bounds__(THREADS)
conv2d_input_grad(const T* __restrict__ gy, const T* __restrict__ weight,
                  const T* __restrict__ bias, T* __restrict__ gx, CONV_SIZES) {
    __shared__ Slices<T> slices;
    input_grad(slices, own_place(), gy, (const T*)nullptr, weight, bias, gx, CONV_GIVEN);
}

// Where the kernel's element behind a column of the weight gradient looks, from the top left corner
// of a window; far outside if there is no such column.
struct Tap {
    int channel, h, w;
};

// The weight gradient is summed over pixels p = (n, oh, ow). Loads element (row, p) of gy; keeps it
// in `kept` and adds it to `sums`, unless these are null, in T for at most FEW terms.
constexpr int FEW = 16;
typedef double Sums[DEPTH][TILE + 1];  // of a term and a line; each thread has its own
template <typename T> struct GradLoader {
    const T *gy, *y;  // of the group, from the tile's first row
    T* kept;
    Sums* sums;
    i64 image;  // elements from one image to the next
    int pixels, end, lines;
    T held[SHARE], few[SHARE];
    int steps;

    __device__ void fetch(int k0) {
        const int p = k0 + own_term();
        const i64 first = p / pixels * image + p % pixels;
        const T *from = gy + first, *output = y ? y + first : y;
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
            const int line = own_line(s);
            const bool inside = p < end && line < lines;
            held[s] = rectified(from, output, line * pixels, inside);
            if (kept && inside) kept[first + line * pixels] = held[s];
        }
    }
    __device__ void put(Slice<T>& slice) {
        put_own(held, slice);
        if (!sums) return;
#pragma unroll
        for (int s = 0; s < SHARE; s++) few[s] += held[s];
        if (++steps % FEW == 0) add_up();
    }
    __device__ void add_up() {
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
            (*sums)[own_term()][own_line(s)] += few[s];
            few[s] = 0;
        }
    }
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

// The pixels are shared out to S blocks, `share` each, which is a multiple of 16; parts (S, ...) is
// for sum_parts to add up. With sums that of the bias (OC,) stands behind that of the weights.
template <typename T>
__device__ void weight_grad(Slices<T>& slices, Tap (&taps)[TILE], Sums* sums, Place block,
                            const T* x, const T* gy, const T* y, T* kept, T* parts, CONV_SIZES,
                            int share) {
    const int rows = OC / G, channels = C / G, columns = channels * KH * KW;
    const int row0 = block.y * TILE, column0 = block.x * TILE;
    const int group = block.z % G, part = block.z / G;
    const int pixels = N * OH * OW, begin = part * share;
    const int end = pixels - begin < share ? pixels : begin + share;

    if (threadIdx.x < TILE) {
        const int column = column0 + threadIdx.x;
        taps[threadIdx.x] = {column / (KH * KW), column / KW % KH * DH, column % KW * DW};
        if (column >= columns) taps[threadIdx.x].h = -(1 << 30);
    }
    __syncthreads();

    const int oc0 = group * rows + row0;
    const i64 corner = (i64)oc0 * OH * OW;
    const i64 weights = (i64)OC * columns, size = weights + (sums ? OC : 0);
    if (column0 > 0) kept = nullptr, sums = nullptr;
    GradLoader<T> left = {
        gy + corner, y ? y + corner : y, kept ? kept + corner : kept, sums,
        (i64)OC * OH * OW, OH * OW, end, rows - row0, {}, {}, 0};
    for (int s = 0; sums && s < SHARE; s++) (*sums)[own_term()][own_line(s)] = 0;
    PatchLoader<T> right = {
        x + (i64)group * channels * H * W, (i64)C * H * W, taps,
        H, W, OH, OW, SH, SW, PH, PW, end, {}};
    T sum[ROWS][COLUMNS];
    multiply(slices, left, right, begin, end, sum);

    T* own = parts + part * size;
    const bool vectors = columns % Vector<T>::SIZE == 0 && aligned(own);
    write(sum, rows - row0, columns - column0, vectors, [&](int row, int column) {
        return own + (i64)(oc0 + row) * columns + column0 + column;
    });
    if (!sums) return;
    left.add_up();
    __syncthreads();
    if (threadIdx.x < TILE && row0 + (int)threadIdx.x < rows) {
        double total = 0;
        for (int k = 0; k < DEPTH; k++) total += (*sums)[k][threadIdx.x];
        own[weights + oc0 + threadIdx.x] = (T)total;
    }
}

// Grid: columns / 64, rows / 64, G * S.
template <typename T>
__global__ void __launch_bounds__(THREADS)
conv2d_weight_grad(const T* __restrict__ x, const T* __restrict__ gy, T* __restrict__ parts,
                   CONV_SIZES, int share) {
    __shared__ Slices<T> slices;
    __shared__ Tap taps[TILE];
    const T* y = nullptr;
    T* kept = nullptr;
    weight_grad(slices, taps, nullptr, own_place(), x, gy, y, kept, parts, CONV_GIVEN, share);
}

// Grid: `inputs` tiles of the input gradient, then those of the weight gradient. What is kept of gy,
// if not null, is what the ReLU passes on.
#if __CUDA_ARCH__ < 1000
template <typename T> constexpr int RESIDENT = sizeof(T) == 4 ? 4 : 2;  // blocks of a multiprocessor
#else  // four would spill, and some hold three in their shared memory
template <typename T> constexpr int RESIDENT = sizeof(T) == 4 ? 3 : 2;
#endif
template <typename T>
__global__ void __launch_bounds__(THREADS, RESIDENT<T>)
conv2d_grads(const T* __restrict__ gy, const T* __restrict__ y, const T* __restrict__ x,
             const T* __restrict__ weight, T* __restrict__ gx, T* __restrict__ kept,
             T* __restrict__ parts, CONV_SIZES, int inputs, int share, int bias) {
    __shared__ Slices<T> slices;
    __shared__ Tap taps[TILE];
    __shared__ Sums sums;
    const int block = blockIdx.x - inputs;
    if (block < 0) {
        const int across = SH * SW * phase_tiles(N, H, W, SH, SW);
        const Place place = place_of(blockIdx.x, across, tiles(C / G));
        input_grad(slices, place, gy, y, weight, (const T*)nullptr, gx, CONV_GIVEN);
    } else {
        const Place place = place_of(block, tiles(C / G * KH * KW), tiles(OC / G));
        Sums* own = bias ? &sums : nullptr;
        weight_grad(slices, taps, own, place, x, gy, y, kept, parts, CONV_GIVEN, share);
    }
}

// The parts of each element, first to last.
template <typename T>
__global__ void sum_parts(const T* __restrict__ parts, T* __restrict__ y, int S, i64 count) {
    FOR_EACH(i, count) {
        T sum = 0;
        for (int s = 0; s < S; s++) sum += parts[s * count + i];
        y[i] = sum;
    }
}
