// Batch normalisation, with or without the ReLU behind it. x is (N, C, ...), vectors are (C,).
//
//   kernel                  computes                                             NumPy twin
//   batch_norm_parts        mean, sum of (x - mean)^2 of each part of a channel  batch_norm_stats
//   batch_norm_stats        from these, mean and variance of the channel
//   batch_norm              (x - mean) * invstd * weight + bias, or max(that, 0) batch_norm
//   batch_norm_grad_parts   sums of gy and of gy * (x - mean) of each part       batch_norm_grad
//   batch_norm_grad         weight * invstd * (gy - share * (sum(gy) + xhat * sum(gy * xhat)))
//
// With an output y, gy counts as 0 where y <= 0.
//
// Statistics read x once: a block keeps its part in registers, so it can take the part's mean first
// and the deviations from it afterwards. That is as exact as two passes, also where the mean is
// large against the deviations and E[x^2] - E[x]^2 would lose every digit.
//
// Run:  tinyfcn kernels run batch_norm

#include "channel_sums.cuh"

__device__ inline int part_size(int part, i64 count) {
    const i64 rest = count - (i64)part * PART;
    return rest < PART ? (int)rest : PART;
}

// A block a part; means and squares are (channels, parts).
template <typename T>
__global__ void batch_norm_parts(const T* __restrict__ x, double* __restrict__ means,
                                 double* __restrict__ squares, int channels, i64 pixels, i64 count,
                                 int parts) {
    __shared__ double shared[PART_THREADS];
    T values[PART_ITEMS];
    T sum = 0;
    PartWalk at(channels, pixels, parts);
    const i64 first = at.number;
#pragma unroll
    for (int k = 0; k < PART_ITEMS; ++k, at.next()) {
        values[k] = at.number < count ? x[at.offset] : T(0);
        sum += values[k];
    }
    const int size = part_size(blockIdx.x % parts, count);
    const T guess = (T)(block_sum(sum, shared) / size);

    T deviations = 0, squared = 0;
#pragma unroll
    for (int k = 0; k < PART_ITEMS; ++k) {
        if (first + k * PART_THREADS < count) {
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

// A block a channel: the mean of all, and each part's squares moved from its own mean to that.
template <typename T>
__global__ void batch_norm_stats(const double* __restrict__ means,
                                 const double* __restrict__ squares, T* __restrict__ mean,
                                 T* __restrict__ var, i64 count, int parts) {
    __shared__ double shared[PART_THREADS];
    means += (i64)blockIdx.x * parts;
    squares += (i64)blockIdx.x * parts;
    double sum = 0;
    for (int t = threadIdx.x; t < parts; t += PART_THREADS) sum += means[t] * part_size(t, count);
    const double center = block_sum(sum, shared) / count;
    double square = 0;
    for (int t = threadIdx.x; t < parts; t += PART_THREADS) {
        const double d = means[t] - center;
        square += squares[t] + d * d * part_size(t, count);
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
                           int relu, i64 count) {
    FOR_EACH(i, count) {
        const int c = quotient(i, pixels) % channels;
        const T v = (x[i] - mean[c]) * (invstd[c] * weight[c]) + bias[c];
        y[i] = relu && v <= 0 ? T(0) : v;
    }
}

// A block a part; y may be null.
template <typename T>
__global__ void batch_norm_grad_parts(const T* __restrict__ gy, const T* __restrict__ x,
                                      const T* __restrict__ mean, const T* __restrict__ y,
                                      double* __restrict__ sums, double* __restrict__ products,
                                      int channels, i64 pixels, i64 count, int parts) {
    __shared__ double shared[PART_THREADS];
    const T center = mean[blockIdx.x / parts];
    T sum = 0, product = 0;
    PartWalk at(channels, pixels, parts);
#pragma unroll
    for (int k = 0; k < PART_ITEMS; ++k, at.next()) {
        if (at.number < count && (!y || y[at.offset] > 0)) {
            sum += gy[at.offset];
            product += gy[at.offset] * (x[at.offset] - center);
        }
    }
    const double part_sum = block_sum(sum, shared);
    const double part_product = block_sum(product, shared);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = part_sum;
        products[blockIdx.x] = part_product;
    }
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
