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

// s of the elements from i on, as many as a V has.
template <typename V, typename Stored, typename T = wide<Stored>>
__device__ Pack<T, V::SIZE> window_scale(const Stored* __restrict__ x, i64 i, int channels,
                                         i64 pixels, int size, T share, T k) {
    const Neighbours near(i, channels, pixels, size / 2, (size - 1) / 2);
    Pack<T, V::SIZE> sum = {};
    for (i64 j = near.start; j < near.stop; j += pixels) {
        const V v = *(const V*)(x + j);
        for (int e = 0; e < V::SIZE; ++e) sum.at[e] += (T)v.at[e] * (T)v.at[e];
    }
    for (T& s : sum.at) s = k + share * s;
    return sum;
}

// share is alpha / size
template <typename Stored>
__global__ void local_response_norm(const Stored* __restrict__ x, Stored* __restrict__ y,
                                    int channels, i64 pixels, int size, wide<Stored> share,
                                    wide<Stored> beta, wide<Stored> k, i64 count) {
    const bool vectors = pixels % Vector<Stored>::SIZE == 0 && aligned(x) && aligned(y);
    for_each_vector<Stored>(count, vectors, [=](i64 i, auto v) {
        using V = decltype(v);
        const auto scale = window_scale<V>(x, i, channels, pixels, size, share, k);
        v = *(const V*)(x + i);
        for (int e = 0; e < V::SIZE; ++e) v.at[e] = Stored(v.at[e] * pow(scale.at[e], -beta));
        *(V*)(y + i) = v;
    });
}

template <typename Stored>
__global__ void local_response_norm_terms(const Stored* __restrict__ gy,
                                          const Stored* __restrict__ x,
                                          wide<Stored>* __restrict__ direct,
                                          wide<Stored>* __restrict__ spread, int channels,
                                          i64 pixels, int size, wide<Stored> share,
                                          wide<Stored> beta, wide<Stored> k, i64 count) {
    const bool vectors = pixels % Vector<Stored>::SIZE == 0 && aligned(gy) && aligned(x) &&
                         aligned(direct) && aligned(spread);
    for_each_vector<Stored>(count, vectors, [=](i64 i, auto v) {
        using V = decltype(v);
        const auto scale = window_scale<V>(x, i, channels, pixels, size, share, k);
        const V g = *(const V*)(gy + i);
        v = *(const V*)(x + i);
        Pack<wide<Stored>, V::SIZE> own, other;
        for (int e = 0; e < V::SIZE; ++e) {
            own.at[e] = g.at[e] * pow(scale.at[e], -beta);
            other.at[e] = own.at[e] * v.at[e] / scale.at[e];
        }
        *(decltype(own)*)(direct + i) = own;
        *(decltype(own)*)(spread + i) = other;
    });
}

// factor is 2 alpha beta / size
template <typename Stored>
__global__ void local_response_norm_grad(const Stored* __restrict__ x,
                                         const wide<Stored>* __restrict__ direct,
                                         const wide<Stored>* __restrict__ spread,
                                         Stored* __restrict__ gx,
                                         int channels, i64 pixels, int size, wide<Stored> factor,
                                         i64 count) {
    const bool vectors = pixels % Vector<Stored>::SIZE == 0 && aligned(x) && aligned(direct) &&
                         aligned(spread) && aligned(gx);
    for_each_vector<Stored>(count, vectors, [=](i64 i, auto v) {
        using V = decltype(v);
        using Sums = Pack<wide<Stored>, V::SIZE>;
        const Neighbours near(i, channels, pixels, (size - 1) / 2, size / 2);
        Sums sum = {};
        for (i64 j = near.start; j < near.stop; j += pixels) {
            const Sums term = *(const Sums*)(spread + j);
            for (int e = 0; e < V::SIZE; ++e) sum.at[e] += term.at[e];
        }
        const Sums own = *(const Sums*)(direct + i);
        v = *(const V*)(x + i);
        for (int e = 0; e < V::SIZE; ++e)
            v.at[e] = Stored(own.at[e] - factor * sum.at[e] * v.at[e]);
        *(V*)(gx + i) = v;
    });
}
