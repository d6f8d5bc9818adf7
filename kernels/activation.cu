// Activations, element by element.
//
//   kernel                       computes
//   relu, relu_grad              max(x, 0); gy where y > 0
//   leaky_relu, leaky_relu_grad  x where x > 0, else slope · x; gy where x > 0, else slope · gy
//   elu                          x where x > 0, else alpha · (eˣ − 1)
//   sigmoid                      1 / (1 + e⁻ˣ)
//
// NumPy twins: tinyfcn/backend/cpu/activation.py, the functions of the same names. All arrays have one
// shape.
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

template <typename T>
__global__ void leaky_relu(const T* __restrict__ x, T* __restrict__ y, T slope, i64 count) {
    FOR_EACH(i, count) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

template <typename T>
__global__ void leaky_relu_grad(const T* __restrict__ gy, const T* __restrict__ x,
                                T* __restrict__ gx, T slope, i64 count) {
    FOR_EACH(i, count) gx[i] = x[i] > 0 ? gy[i] : slope * gy[i];
}

template <typename T>
__global__ void elu(const T* __restrict__ x, T* __restrict__ y, T alpha, i64 count) {
    FOR_EACH(i, count) y[i] = x[i] > 0 ? x[i] : alpha * expm1(x[i]);
}

template <typename T>
__global__ void sigmoid(const T* __restrict__ x, T* __restrict__ y, i64 count) {
    FOR_EACH(i, count) y[i] = 1 / (1 + exp(-x[i]));  // where e⁻ˣ overflows, 1 / ∞ is the 0 wanted
}
