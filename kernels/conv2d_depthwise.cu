// The weight gradient where a group has few channels, as in depthwise convolution.
//
//   kernel                  NumPy twin           C              summed over
//   depthwise_weight_grad   conv2d_weight_grad   parts of gw    N, OH, OW
//
// x (N, C, H, W); gy (N, OC, OH, OW); parts (S, OC, C / G, KH, KW), for sum_parts of conv2d.cu.
//
// As a product of matrices, conv2d.cu, this has OC / G rows and C / G * KH * KW columns: 1 x 9 of the
// 64 x 64 that a block computes. Here a block has one plane of the weights, nine taps of it: a thread
// goes over pixels of gy, reads each once, and adds it times what the nine taps see there to nine
// sums in registers. Neighbouring threads have neighbouring pixels, and most of what the taps of one
// see the others have in the cache. A tree adds the threads up.
//
// Run:  tinyfcn kernels run depthwise_weight_grad

#include "conv_sizes.cuh"

constexpr int TAPS = 9;       // of a block
constexpr int THREADS = 128;  // of a block

// Grid: OC * C / G planes, KH * KW / 9, S. Block (_, _, s) has `share` of the pixels of all images.
template <typename Stored>
__global__ void __launch_bounds__(THREADS, 4)  // for fewer registers ptxas would spill
depthwise_weight_grad(const Stored* __restrict__ x, const Stored* __restrict__ gy,
                      wide<Stored>* __restrict__ parts, CONV_SIZES, int share) {
    typedef wide<Stored> T;
    __shared__ T sums[TAPS][THREADS + 1];  // + 1 against bank conflicts
    const int channels = C / G, oc = blockIdx.x / channels;
    const int c = oc / (OC / G) * channels + blockIdx.x % channels;
    const int first = blockIdx.y * TAPS, taps = KH * KW;
    int down[TAPS], right[TAPS];  // from the corner of a window; far outside if there is no such tap
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
        down[t] = first + t < taps ? (first + t) / KW * DH : -(1 << 30);
        right[t] = (first + t) % KW * DW;
    }

    T sum[TAPS] = {};
    const u32 pixels = OH * OW, all = N * pixels, begin = blockIdx.z * (u32)share;
    const u32 end = all - begin < (u32)share ? all : begin + share;
    for (u32 p = begin + threadIdx.x; p < end; p += THREADS) {
        const u32 n = p / pixels, pixel = p % pixels;
        const int top = (int)(pixel / OW) * SH - PH, left = (int)(pixel % OW) * SW - PW;
        const T g = gy[((i64)n * OC + oc) * pixels + pixel];
        const Stored* image = x + ((i64)n * C + c) * H * W;
#pragma unroll
        for (int t = 0; t < TAPS; t++) {
            const int h = top + down[t], w = left + right[t];
            if (within(h, H) && within(w, W)) sum[t] += g * image[h * W + w];
        }
    }

#pragma unroll
    for (int t = 0; t < TAPS; t++) sums[t][threadIdx.x] = sum[t];
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
#pragma unroll
            for (int t = 0; t < TAPS; t++) sums[t][threadIdx.x] += sums[t][threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x < TAPS && first + (int)threadIdx.x < taps)
        parts[((i64)blockIdx.z * gridDim.x + blockIdx.x) * taps + first + threadIdx.x] =
            sums[threadIdx.x][0];
}
