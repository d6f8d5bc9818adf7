// Sums over the pixels of each channel, with the same bits at every run: see channel_sums.cuh.
//
//   kernel             NumPy twin       in                         out
//   sum_pixels         sum_pixels       x (N, C, ...)              sums (C, parts)
//   channel_totals                      sums (C, parts), factors   totals (C,)
//   sum_pixels_whole   sum_pixels       x (N, C, ...)              totals (C,), of few parts
//
// The gradient of a bias is these. With an output y of a ReLU, x counts as 0 where y <= 0, and is
// written to gx so. Batch normalisation has parts of its own, of two sums at once, and adds them up by
// channel_totals too.
//
// One version: x is read once, in order, so that memory is the limit.
//
// Run:  tinyfcn kernels run sum_pixels

#include "channel_sums.cuh"

// The sum of a part, for each thread of its block; y and gx may be null.
template <typename V, typename Stored>
__device__ double part_sum(const Stored* __restrict__ x, const Stored* __restrict__ y,
                           Stored* __restrict__ gx, PartWalk<V::SIZE> at, int size, double* shared) {
    wide<Stored> sum = 0;
#pragma unroll
    for (int k = 0; k < at.STEPS; ++k, at.next()) {
        if (at.number < size) {
            V v = *(const V*)(x + at.offset), cut = {};
            if (y) cut = *(const V*)(y + at.offset);
            for (int e = 0; e < V::SIZE; ++e) {
                if (y && !(cut.at[e] > 0)) v.at[e] = Stored(0);
                sum += v.at[e];
            }
            if (gx) *(V*)(gx + at.offset) = v;
        }
    }
    return block_sum(sum, shared);
}

// A block a part.
template <typename Stored>
__global__ void sum_pixels(const Stored* __restrict__ x, const Stored* __restrict__ y,
                           Stored* __restrict__ gx, double* __restrict__ sums, int channels,
                           i64 pixels, i64 count, int parts) {
    __shared__ double shared[PART_THREADS];
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    by_groups<Stored>(pixels, [=](auto v) {
        const PartWalk<v.SIZE> at(channels, pixels, channel, part);
        const double sum = part_sum<decltype(v)>(x, y, gx, at, part_size(part, count), shared);
        if (threadIdx.x == 0) sums[blockIdx.x] = sum;
    }, x, y, gx);
}

// A block a channel, of at most WHOLE parts.
template <typename Stored>
__global__ void sum_pixels_whole(const Stored* __restrict__ x, const Stored* __restrict__ y,
                                 Stored* __restrict__ gx, wide<Stored>* __restrict__ totals,
                                 int channels, i64 pixels, i64 count, int parts) {
    __shared__ double shared[PART_THREADS], sums[WHOLE];
    by_groups<Stored>(pixels, [=](auto v) {
        for (int part = 0; part < parts; ++part) {
            const PartWalk<v.SIZE> at(channels, pixels, blockIdx.x, part);
            const double sum = part_sum<decltype(v)>(x, y, gx, at, part_size(part, count), shared);
            if (threadIdx.x == 0) sums[part] = sum;
        }
    }, x, y, gx);
    __syncthreads();
    const double sum = parts_sum(sums, parts, shared);
    if (threadIdx.x == 0) totals[blockIdx.x] = (wide<Stored>)sum;
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
