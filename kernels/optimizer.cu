// Steps of the optimizers, in place, of many arrays by one launch.
//
//   kernel        computes
//   sgd_update    d = grad + decay * param;  v = momentum * v + gain * d;  param -= step * v
//                 (nesterov: step * (d + momentum * v); velocities null: step * d)
//   adam_update   d = grad + decay * param;  m = beta1 * m + share1 * d;  v = beta2 * v + share2 * d^2;
//                 param = shrink * param - step * m / (sqrt(v) / correction + eps)
//   not_finite    found |= whether an element of any array is infinite or NaN (twin: all_finite)
//
// NumPy twins: the primitives of the same names. params, grads, ... are tables of pointers: array t of
// each has sizes[t] elements, in one order, and the blocks from firsts[t] to firsts[t + 1]. The
// shares are 1 - beta, taken in double: in float 1 - 0.999f is off by 1e-5.
//
// One version each: every array is read and written once, in order, by 128 bits, and no other memory
// is needed.
//
// Run:  tinyfcn kernels run sgd_update

#include "common.cuh"

constexpr int SHARE = 4096;  // elements of an array that a block changes

// Which array a block changes, and which of its elements.
struct Share {
    int array, size;
    i64 begin;

    __device__ Share(const i64* sizes, const int* firsts, int arrays) {
        array = 0;  // the last one whose first block is not behind this one
        for (int beyond = arrays; beyond - array > 1;) {
            const int middle = (array + beyond) / 2;
            if (firsts[middle] <= (int)blockIdx.x)
                array = middle;
            else
                beyond = middle;
        }
        begin = (i64)((int)blockIdx.x - firsts[array]) * SHARE;
        const i64 rest = sizes[array] - begin;
        size = rest < SHARE ? (int)rest : SHARE;
    }

    // Where it begins in the array; of no table, null.
    template <typename T> __device__ T* of(T* const* table) const {
        return table ? table[array] + begin : nullptr;
    }

    // work(i, v) as in for_each_vector, by the threads of the block.
    template <typename T, typename Work> __device__ void each(bool vectors, Work work) const {
        by_vectors<T, int>(threadIdx.x, blockDim.x, size, vectors, work);
    }
};

template <typename T>
__global__ void sgd_update(T* const* params, const T* const* grads, T* const* velocities,
                           const i64* sizes, const int* firsts, int arrays, T momentum, T gain,
                           T step, T decay, int nesterov) {
    const Share share(sizes, firsts, arrays);
    T* __restrict__ param = share.of(params);
    const T* __restrict__ grad = share.of(grads);
    T* __restrict__ velocity = share.of(velocities);
    share.each<T>(aligned(param) && aligned(grad) && aligned(velocity), [=](int i, auto p) {
        using V = decltype(p);
        p = *(V*)(param + i);
        const V g = *(const V*)(grad + i);
        V v = {};
        if (velocity) v = *(V*)(velocity + i);
        for (int e = 0; e < V::SIZE; ++e) {
            const T d = g.at[e] + decay * p.at[e];
            v.at[e] = momentum * v.at[e] + gain * d;
            p.at[e] -= step * (!velocity ? d : nesterov ? d + momentum * v.at[e] : v.at[e]);
        }
        if (velocity) *(V*)(velocity + i) = v;
        *(V*)(param + i) = p;
    });
}

template <typename T>
__global__ void adam_update(T* const* params, const T* const* grads, T* const* first_moments,
                            T* const* second_moments, const i64* sizes, const int* firsts,
                            int arrays, T step, T beta1, T share1, T beta2, T share2, T correction,
                            T eps, T decay, T shrink) {
    const Share share(sizes, firsts, arrays);
    T* __restrict__ param = share.of(params);
    const T* __restrict__ grad = share.of(grads);
    T* __restrict__ first = share.of(first_moments);
    T* __restrict__ second = share.of(second_moments);
    const bool vectors = aligned(param) && aligned(grad) && aligned(first) && aligned(second);
    share.each<T>(vectors, [=](int i, auto p) {
        using V = decltype(p);
        p = *(V*)(param + i);
        const V g = *(const V*)(grad + i);
        V m = *(V*)(first + i), v = *(V*)(second + i);
        for (int e = 0; e < V::SIZE; ++e) {
            const T d = g.at[e] + decay * p.at[e];
            m.at[e] = beta1 * m.at[e] + share1 * d;
            v.at[e] = beta2 * v.at[e] + share2 * d * d;
            p.at[e] = shrink * p.at[e] - step * m.at[e] / (sqrt(v.at[e]) / correction + eps);
        }
        *(V*)(first + i) = m;
        *(V*)(second + i) = v;
        *(V*)(param + i) = p;
    });
}

template <typename T>
__global__ void not_finite(const T* const* tensors, const i64* sizes, const int* firsts, int arrays,
                           int* found) {
    const Share share(sizes, firsts, arrays);
    const T* __restrict__ x = share.of(tensors);
    bool bad = false;
    share.each<T>(aligned(x), [=, &bad](int i, auto v) {
        v = *(const decltype(v)*)(x + i);
        for (const T e : v.at)
            if (!(e - e == 0)) bad = true;
    });
    if (bad) atomicOr(found, 1);
}
