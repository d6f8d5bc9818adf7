// The rectifier, element by element.
//
//   kernel       computes
//   relu         max(x, 0)
//   relu_grad    gy where y > 0, else 0
//
// NumPy twins: the primitives of the same names. All arrays have one shape.
//
// One version each: they read and write every element once, in order, so that memory is the limit.
//
// Run:  tinyfcn kernels run relu

#include "common.cuh"

template <typename T>
__global__ void relu(const T* __restrict__ x, T* __restrict__ y, i64 count) {
    FOR_EACH(i, count) {
        const T v = x[i];
        y[i] = v > 0 || v != v ? v : T(0);  // NaN stays, as in np.maximum
    }
}

template <typename T>
__global__ void relu_grad(const T* __restrict__ gy, const T* __restrict__ y, T* __restrict__ gx,
                          i64 count) {
    FOR_EACH(i, count) gx[i] = y[i] > 0 ? gy[i] : T(0);
}
