// Steps of the optimizers, in place, element by element.
//
//   kernel        computes
//   sgd_update    d = grad + decay * param;  v = momentum * v + gain * d;  param -= step * v
//                 (nesterov: step * (d + momentum * v); velocity null: step * d)
//   adam_update   d = grad + decay * param;  m = beta1 * m + share1 * d;
//                 v = beta2 * v + share2 * d^2;
//                 param = shrink * param - step * m / (sqrt(v) / correction + eps)
//
// NumPy twins: the primitives of the same names. All arrays have one shape and lie in one order. The
// shares are 1 - beta, taken in double: in float 1 - 0.999f is off by 1e-5.
//
// One version each: every array is read and written once, in order, and no other memory is needed.
//
// Run:  tinyfcn kernels run sgd_update

#include "common.cuh"

template <typename T>
__global__ void sgd_update(T* __restrict__ param, const T* __restrict__ grad,
                           T* __restrict__ velocity, T momentum, T gain, T step, T decay,
                           int nesterov, i64 count) {
    FOR_EACH(i, count) {
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
__global__ void adam_update(T* __restrict__ param, const T* __restrict__ grad,
                            T* __restrict__ first, T* __restrict__ second, T step, T beta1,
                            T share1, T beta2, T share2, T correction, T eps, T decay, T shrink,
                            i64 count) {
    FOR_EACH(i, count) {
        const T d = grad[i] + decay * param[i];
        const T m = beta1 * first[i] + share1 * d;
        const T v = beta2 * second[i] + share2 * d * d;
        first[i] = m;
        second[i] = v;
        param[i] = shrink * param[i] - step * m / (sqrt(v) / correction + eps);
    }
}
