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
// One version each: every array is read and written once, in order, and no other memory is needed.
//
// Run:  tinyfcn kernels run sgd_update

#include "common.cuh"

constexpr int SHARE = 4096;  // elements of an array that a block changes

// Which array a block changes, and which of its elements.
struct Share {
    int array;
    i64 begin, end;

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
        end = begin + (rest < SHARE ? rest : SHARE);
    }
};

template <typename T>
__global__ void sgd_update(T* const* params, const T* const* grads, T* const* velocities,
                           const i64* sizes, const int* firsts, int arrays, T momentum, T gain,
                           T step, T decay, int nesterov) {
    const Share share(sizes, firsts, arrays);
    T* __restrict__ param = params[share.array];
    const T* __restrict__ grad = grads[share.array];
    T* __restrict__ velocity = velocities ? velocities[share.array] : nullptr;
    for (i64 i = share.begin + threadIdx.x; i < share.end; i += blockDim.x) {
        const T d = grad[i] + decay * param[i];
        T move = d;
        if (velocity) {
            const T v = momentum * velocity[i] + gain * d;
            velocity[i] = v;
            move = nesterov ? d + momentum * v : v;
        }
        param[i] -= step * move;
    }
}

template <typename T>
__global__ void adam_update(T* const* params, const T* const* grads, T* const* first_moments,
                            T* const* second_moments, const i64* sizes, const int* firsts,
                            int arrays, T step, T beta1, T share1, T beta2, T share2, T correction,
                            T eps, T decay, T shrink) {
    const Share share(sizes, firsts, arrays);
    T* __restrict__ param = params[share.array];
    const T* __restrict__ grad = grads[share.array];
    T* __restrict__ first = first_moments[share.array];
    T* __restrict__ second = second_moments[share.array];
    for (i64 i = share.begin + threadIdx.x; i < share.end; i += blockDim.x) {
        const T d = grad[i] + decay * param[i];
        const T m = beta1 * first[i] + share1 * d;
        const T v = beta2 * second[i] + share2 * d * d;
        first[i] = m;
        second[i] = v;
        param[i] = shrink * param[i] - step * m / (sqrt(v) / correction + eps);
    }
}

template <typename T>
__global__ void not_finite(const T* const* tensors, const i64* sizes, const int* firsts, int arrays,
                           int* found) {
    const Share share(sizes, firsts, arrays);
    const T* __restrict__ x = tensors[share.array];
    bool bad = false;
    for (i64 i = share.begin + threadIdx.x; i < share.end; i += blockDim.x)
        if (!(x[i] - x[i] == 0)) bad = true;
    if (bad) atomicOr(found, 1);
}
