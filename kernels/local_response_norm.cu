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
// One version: a thread has the pixels of 128 bits, neighbouring threads neighbouring ones. A window's
// elements are read by `size` threads, but from memory once. A sum that slides along the channels would read
// less, and lose digits where a large square leaves it again.
//
// Run:  tinyfcn kernels run local_response_norm

#include "common.cuh"

// The channels c - before .. c + after that exist, of the element at offset i.
struct Neighbours {
    i64 start, stop;

    __device__ Neighbours(i64 i, int channels, i64 pixels, int before, int after) {
        const int c = channel_of(i, channels, pixels);
        start = i - (i64)(before < c ? before : c) * pixels;
        const int left = channels - 1 - c;
        stop = i + (i64)(after < left ? after : left) * pixels + 1;
    }
};

// s of the elements from i on, as many as `scale` holds.
template <typename V, typename T>
__device__ V window_scale(const T* __restrict__ x, i64 i, int channels, i64 pixels, int size,
                          T share, T k) {
    const Neighbours near(i, channels, pixels, size / 2, (size - 1) / 2);
    V sum = {};
    for (i64 j = near.start; j < near.stop; j += pixels) {
        const V v = *(const V*)(x + j);
        int e = 0;
        for (T& s : sum.at) s += v.at[e] * v.at[e], ++e;
    }
    for (T& s : sum.at) s = k + share * s;
    return sum;
}

// share is alpha / size
template <typename T>
__global__ void local_response_norm(const T* __restrict__ x, T* __restrict__ y, int channels,
                                    i64 pixels, int size, T share, T beta, T k, i64 count) {
    const bool vectors = pixels % Vector<T>::SIZE == 0 && aligned(x) && aligned(y);
    for_each_vector<T>(count, vectors, [=](i64 i, auto v) {
        using V = decltype(v);
        const V scale = window_scale<V>(x, i, channels, pixels, size, share, k);
        v = *(const V*)(x + i);
        int e = 0;
        for (T& y : v.at) y *= pow(scale.at[e++], -beta);
        *(V*)(y + i) = v;
    });
}

template <typename T>
__global__ void local_response_norm_terms(const T* __restrict__ gy, const T* __restrict__ x,
                                          T* __restrict__ direct, T* __restrict__ spread,
                                          int channels, i64 pixels, int size, T share, T beta, T k,
                                          i64 count) {
    const bool vectors = pixels % Vector<T>::SIZE == 0 && aligned(gy) && aligned(x) &&
                         aligned(direct) && aligned(spread);
    for_each_vector<T>(count, vectors, [=](i64 i, auto v) {
        using V = decltype(v);
        const V scale = window_scale<V>(x, i, channels, pixels, size, share, k);
        V g = *(const V*)(gy + i);
        v = *(const V*)(x + i);
        for (int e = 0; e < (int)(sizeof(V) / sizeof(T)); ++e) {
            g.at[e] *= pow(scale.at[e], -beta);
            v.at[e] = g.at[e] * v.at[e] / scale.at[e];
        }
        *(V*)(direct + i) = g;
        *(V*)(spread + i) = v;
    });
}

// factor is 2 alpha beta / size
template <typename T>
__global__ void local_response_norm_grad(const T* __restrict__ direct, const T* __restrict__ spread,
                                         const T* __restrict__ x, T* __restrict__ gx, int channels,
                                         i64 pixels, int size, T factor, i64 count) {
    const bool vectors = pixels % Vector<T>::SIZE == 0 && aligned(direct) && aligned(spread) &&
                         aligned(x) && aligned(gx);
    for_each_vector<T>(count, vectors, [=](i64 i, auto v) {
        using V = decltype(v);
        const Neighbours near(i, channels, pixels, (size - 1) / 2, size / 2);
        V sum = {}, g = *(const V*)(direct + i);
        v = *(const V*)(x + i);
        for (i64 j = near.start; j < near.stop; j += pixels) {
            const V term = *(const V*)(spread + j);
            int e = 0;
            for (T& s : sum.at) s += term.at[e++];
        }
        int e = 0;
        for (T& s : sum.at) g.at[e] -= factor * s * v.at[e], ++e;
        *(V*)(gx + i) = g;
    });
}
