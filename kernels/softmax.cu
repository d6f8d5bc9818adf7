// Softmax along one axis.
//
//   kernel        computes                                       NumPy twin
//   softmax       exp(x) / Σ exp(x)                              tinyfcn/backend/cpu/activation.py,
//   log_softmax   x − log Σ exp(x)                               the functions of the same names
//
// x and y are (outer, size, inner), with the axis in the middle. The largest value is taken off first,
// so that exp cannot overflow; a NaN or an infinity makes its whole column NaN.
//
// One version: a thread a column, three times along it. Neighbouring threads have neighbouring pixels,
// so reads are whole lines where the axis is that of the channels; the second and third time they
// come from the cache. Along the last axis of a matrix they do not, but such matrices are small here.
//
// Run:  tinyfcn kernels run softmax

#include "common.cuh"

// The largest of a column. Where a NaN is missed, the sum finds it.
template <typename T>
__device__ T column_max(const T* __restrict__ x, int size, i64 inner) {
    T largest = x[0];
    for (int k = 1; k < size; ++k) {
        if (x[k * inner] > largest) largest = x[k * inner];
    }
    return largest;
}

template <typename T>
__device__ T column_exp_sum(const T* __restrict__ x, T largest, int size, i64 inner) {
    T sum = 0;
    for (int k = 0; k < size; ++k) sum += exp(x[k * inner] - largest);
    return sum;
}

template <typename T>
__global__ void softmax(const T* __restrict__ x, T* __restrict__ y, int size, i64 inner,
                        i64 columns) {
    FOR_EACH(i, columns) {
        const i64 outer = quotient(i, inner);
        const i64 start = outer * size * inner + (i - outer * inner);
        const T largest = column_max(x + start, size, inner);
        const T sum = column_exp_sum(x + start, largest, size, inner);
        for (int k = 0; k < size; ++k) {
            y[start + k * inner] = exp(x[start + k * inner] - largest) / sum;
        }
    }
}

template <typename T>
__global__ void log_softmax(const T* __restrict__ x, T* __restrict__ y, int size, i64 inner,
                            i64 columns) {
    FOR_EACH(i, columns) {
        const i64 outer = quotient(i, inner);
        const i64 start = outer * size * inner + (i - outer * inner);
        const T largest = column_max(x + start, size, inner);
        const T log_sum = log(column_exp_sum(x + start, largest, size, inner));
        for (int k = 0; k < size; ++k) {
            y[start + k * inner] = x[start + k * inner] - largest - log_sum;
        }
    }
}
