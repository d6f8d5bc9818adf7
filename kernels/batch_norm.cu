// Batch normalisation, with or without the ReLU behind it. x is (N, C, …), vectors are (C,).
//
//   kernel                  computes                                              NumPy twin
//   batch_norm_tiles        mean and Σ (x − mean)² of each tile of a channel      batch_norm_stats
//   batch_norm_stats        from these, mean and variance of the channel
//   batch_norm              (x − mean) · invstd · weight + bias, or max(that, 0)  batch_norm
//   batch_norm_grad_tiles   Σ gy and Σ gy · (x − mean) of each tile               batch_norm_grad
//   channel_totals          the sums of the tiles, times a factor a channel
//   batch_norm_grad         weight · invstd · (gy − share · (Σ gy + x̂ · Σ gy · x̂))
//
// The twins are in tinyfcn/backend/cpu/normalization.py. With an output y, gy counts as 0 where y ≤ 0.
//
// Statistics read x once: a block keeps its tile in registers, so it can take the tile's mean first
// and the deviations from it afterwards. That is as exact as two passes, also where the mean is
// large against the deviations and E[x²] − E[x]² would lose every digit.
//
// Run:  python examples/kernel_lab.py run batch_norm

#include "channel_tiles.cuh"

__device__ inline int tile_size(int tile, i64 count) {
    const i64 rest = count - (i64)tile * TILE;
    return rest < TILE ? (int)rest : TILE;
}

// A block a tile; means and squares are (channels, tiles).
template <typename T>
__global__ void batch_norm_tiles(const T* __restrict__ x, double* __restrict__ means,
                                 double* __restrict__ squares, int channels, i64 pixels, i64 count,
                                 int tiles) {
    __shared__ double shared[TILE_THREADS];
    T values[TILE_ITEMS];
    T sum = 0;
    TileWalk at(channels, pixels, tiles);
    const i64 first = at.number;
#pragma unroll
    for (int k = 0; k < TILE_ITEMS; ++k, at.next()) {
        values[k] = at.number < count ? x[at.offset] : T(0);
        sum += values[k];
    }
    const int size = tile_size(blockIdx.x % tiles, count);
    const T guess = (T)(block_sum(sum, shared) / size);

    T deviations = 0, squared = 0;
#pragma unroll
    for (int k = 0; k < TILE_ITEMS; ++k) {
        if (first + k * TILE_THREADS < count) {
            const T d = values[k] - guess;
            deviations += d;
            squared += d * d;
        }
    }
    const double rest = block_sum(deviations, shared);  // what rounding took from the guess
    const double square = block_sum(squared, shared);
    if (threadIdx.x == 0) {
        means[blockIdx.x] = guess + rest / size;
        squares[blockIdx.x] = square - rest * rest / size;
    }
}

// A block a channel: the mean of all, and each tile's squares moved from its own mean to that.
template <typename T>
__global__ void batch_norm_stats(const double* __restrict__ means,
                                 const double* __restrict__ squares, T* __restrict__ mean,
                                 T* __restrict__ var, i64 count, int tiles) {
    __shared__ double shared[TILE_THREADS];
    means += (i64)blockIdx.x * tiles;
    squares += (i64)blockIdx.x * tiles;
    double sum = 0;
    for (int t = threadIdx.x; t < tiles; t += TILE_THREADS) sum += means[t] * tile_size(t, count);
    const double center = block_sum(sum, shared) / count;
    double square = 0;
    for (int t = threadIdx.x; t < tiles; t += TILE_THREADS) {
        const double d = means[t] - center;
        square += squares[t] + d * d * tile_size(t, count);
    }
    square = block_sum(square, shared);
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = (T)center;
        var[blockIdx.x] = (T)(square / count);
    }
}

template <typename T>
__global__ void batch_norm(const T* __restrict__ x, const T* __restrict__ mean,
                           const T* __restrict__ invstd, const T* __restrict__ weight,
                           const T* __restrict__ bias, T* __restrict__ y, int channels, i64 pixels,
                           i64 count, int relu) {
    FOR_EACH(i, count) {
        const int c = quotient(i, pixels) % channels;
        const T v = (x[i] - mean[c]) * (invstd[c] * weight[c]) + bias[c];
        y[i] = relu && v <= 0 ? T(0) : v;
    }
}

// A block a tile; y may be null.
template <typename T>
__global__ void batch_norm_grad_tiles(const T* __restrict__ gy, const T* __restrict__ x,
                                      const T* __restrict__ mean, const T* __restrict__ y,
                                      double* __restrict__ sums, double* __restrict__ products,
                                      int channels, i64 pixels, i64 count, int tiles) {
    __shared__ double shared[TILE_THREADS];
    const T center = mean[blockIdx.x / tiles];
    T sum = 0, product = 0;
    TileWalk at(channels, pixels, tiles);
#pragma unroll
    for (int k = 0; k < TILE_ITEMS; ++k, at.next()) {
        if (at.number < count && (!y || y[at.offset] > 0)) {
            sum += gy[at.offset];
            product += gy[at.offset] * (x[at.offset] - center);
        }
    }
    const double tile_sum = block_sum(sum, shared);
    const double tile_product = block_sum(product, shared);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = tile_sum;
        products[blockIdx.x] = tile_product;
    }
}

// A block a channel; factors (C,) may be null for 1.
template <typename T>
__global__ void channel_totals(const double* __restrict__ sums, const T* __restrict__ factors,
                               T* __restrict__ totals, int tiles) {
    __shared__ double shared[TILE_THREADS];
    sums += (i64)blockIdx.x * tiles;
    double sum = 0;
    for (int t = threadIdx.x; t < tiles; t += TILE_THREADS) sum += sums[t];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) totals[blockIdx.x] = (T)(factors ? sum * factors[blockIdx.x] : sum);
}

template <typename T>
__global__ void batch_norm_grad(const T* __restrict__ gy, const T* __restrict__ x,
                                const T* __restrict__ mean, const T* __restrict__ invstd,
                                const T* __restrict__ weight, const T* __restrict__ sum_gy,
                                const T* __restrict__ sum_gy_xhat, const T* __restrict__ y,
                                T* __restrict__ gx, T share, int channels, i64 pixels, i64 count) {
    FOR_EACH(i, count) {
        const int c = quotient(i, pixels) % channels;
        const T g = !y || y[i] > 0 ? gy[i] : T(0);
        const T xhat = (x[i] - mean[c]) * invstd[c];
        gx[i] = weight[c] * invstd[c] * (g - share * (sum_gy[c] + xhat * sum_gy_xhat[c]));
    }
}
