// Local response normalisation: each element divided by a power of the squares around it.
//
//   kernel                      computes, with s = k + alpha / size * sum(x^2), the channels around
//   local_response_norm         x / s^beta
//   local_response_norm_terms   direct = gy / s^beta and spread = direct * x / s
//   local_response_norm_grad    gx = direct - 2 alpha beta / size * x * sum(spread), over the
//                               channels in whose window this one lies: the window turned round
//
// NumPy twins: the primitives of the same names. All arrays are (N, C, pixels); the window of
// channel c is c - size / 2 .. c + (size - 1) / 2.
//
// One version: a thread an element, neighbouring threads neighbouring pixels. A window's elements are
// read by `size` threads, but from memory once. A sum that slides along the channels would read
// less, and lose digits where a large square leaves it again.
//
// Run:  tinyfcn kernels run local_response_norm

#include "common.cuh"

// The channels c - before .. c + after that exist, of the element at offset i.
struct Neighbours {
    i64 start, stop;

    __device__ Neighbours(i64 i, int channels, i64 pixels, int before, int after) {
        const int c = quotient(i, pixels) % channels;
        start = i - (i64)(before < c ? before : c) * pixels;
        const int left = channels - 1 - c;
        stop = i + (i64)(after < left ? after : left) * pixels + 1;
    }
};

template <typename T>
__device__ T window_scale(const T* __restrict__ x, i64 i, int channels, i64 pixels, int size,
                          T share, T k) {
    const Neighbours near(i, channels, pixels, size / 2, (size - 1) / 2);
    T sum = 0;
    for (i64 j = near.start; j < near.stop; j += pixels) sum += x[j] * x[j];
    return k + share * sum;
}

// share is alpha / size
template <typename T>
__global__ void local_response_norm(const T* __restrict__ x, T* __restrict__ y, int channels,
                                    i64 pixels, int size, T share, T beta, T k, i64 count) {
    FOR_EACH(i, count) {
        y[i] = x[i] * pow(window_scale(x, i, channels, pixels, size, share, k), -beta);
    }
}

template <typename T>
__global__ void local_response_norm_terms(const T* __restrict__ gy, const T* __restrict__ x,
                                          T* __restrict__ direct, T* __restrict__ spread,
                                          int channels, i64 pixels, int size, T share, T beta, T k,
                                          i64 count) {
    FOR_EACH(i, count) {
        const T s = window_scale(x, i, channels, pixels, size, share, k);
        const T g = gy[i] * pow(s, -beta);
        direct[i] = g;
        spread[i] = g * x[i] / s;
    }
}

// factor is 2 alpha beta / size
template <typename T>
__global__ void local_response_norm_grad(const T* __restrict__ direct, const T* __restrict__ spread,
                                         const T* __restrict__ x, T* __restrict__ gx, int channels,
                                         i64 pixels, int size, T factor, i64 count) {
    FOR_EACH(i, count) {
        const Neighbours near(i, channels, pixels, (size - 1) / 2, size / 2);
        T sum = 0;
        for (i64 j = near.start; j < near.stop; j += pixels) sum += spread[j];
        gx[i] = direct[i] - factor * sum * x[i];
    }
}
