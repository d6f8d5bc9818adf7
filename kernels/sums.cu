// Sums over the pixels of each channel, with the same bits at every run: see channel_sums.cuh.
//
//   kernel           NumPy twin     in                           out
//   sum_pixels       sum_pixels     x (N, C, ...)                sums (C, parts)
//   channel_totals                  sums (C, parts), factors     totals (C,)
//
// The gradient of a bias is these two. Batch normalisation has parts of its own, of two sums at once,
// and adds them up by channel_totals too.
//
// One version: x is read once, in order, so that memory is the limit.
//
// Run:  tinyfcn kernels run sum_pixels

#include "channel_sums.cuh"

// A block a part.
template <typename T>
__global__ void sum_pixels(const T* __restrict__ x, double* __restrict__ sums, int channels,
                           i64 pixels, i64 count, int parts) {
    __shared__ double shared[PART_THREADS];
    T sum = 0;
    PartWalk at(channels, pixels, parts);
#pragma unroll
    for (int k = 0; k < PART_ITEMS; ++k, at.next()) {
        if (at.number < count) sum += x[at.offset];
    }
    const double part_sum = block_sum(sum, shared);
    if (threadIdx.x == 0) sums[blockIdx.x] = part_sum;
}

// A block a channel. Those from `plain` on are multiplied by factors, of the first of these on.
template <typename T>
__global__ void channel_totals(const double* __restrict__ sums, const T* __restrict__ factors,
                               T* __restrict__ totals, int plain, int parts) {
    __shared__ double shared[PART_THREADS];
    const int channel = blockIdx.x;
    const double sum = parts_sum(sums + (i64)channel * parts, parts, shared);
    if (threadIdx.x == 0) totals[channel] = (T)(channel < plain ? sum : sum * factors[channel - plain]);
}
