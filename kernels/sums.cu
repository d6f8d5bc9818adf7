// Sums in a fixed order, so that they have the same bits at every run.
//
//   kernel       NumPy twin               in                     out
//   sum_pixels   sum_pixels               x (N, C, P)            parts (S, C)
//   sum_parts    parts.sum(axis=0)        parts (S, count)       y (count,)
//
// sum_pixels: a block adds up one of S shares of the pixels of a channel, first every 256th pixel
// in a thread, then the 256 sums in a tree. sum_parts then adds the shares, first to last; so it
// does for the weight gradient of conv2d.cu.
//
// Run:  python examples/kernel_lab.py run sum_pixels

#include "common.cuh"

constexpr int SUM_THREADS = 256;

// Grid (C, S).
template <typename T>
__global__ void __launch_bounds__(SUM_THREADS)
sum_pixels(const T* __restrict__ x, T* __restrict__ parts, i64 N, int C, int P) {
    __shared__ T sums[SUM_THREADS];
    const int c = blockIdx.x, share = blockIdx.y, shares = gridDim.y, t = threadIdx.x;
    const i64 all = N * P;
    T sum = 0;
    for (i64 i = all * share / shares + t; i < all * (share + 1) / shares; i += SUM_THREADS)
        sum += x[(i / P * C + c) * P + i % P];
    sums[t] = sum;
    for (int half = SUM_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) sums[t] += sums[t + half];
    }
    if (t == 0) parts[(i64)share * C + c] = sums[0];
}

template <typename T>
__global__ void sum_parts(const T* __restrict__ parts, T* __restrict__ y, i64 count, int S) {
    FOR_EACH(i, count) {
        T sum = 0;
        for (int s = 0; s < S; s++) sum += parts[s * count + i];
        y[i] = sum;
    }
}
