// Resampling: y = rows * x * columns^T on every plane, with banded matrices.
//
//   kernel       NumPy twin    arrays
//   resample2d   resample2d    x (planes, H, W) -> y (planes, OH, OW)
//
// One kernel is average pooling, bilinear and nearest resizing, padding by reflection, and the adjoint
// of each. A matrix comes as bands: row i is 0 but for bounds[2 i] .. bounds[2 i + 1] - 1, and these
// are the first of row i of weights, which has `width` places.
//
// One version, in gather form: a thread an output, which sums its rows x columns inputs. Bilinear
// resizing has 2 x 2 of them, from the cache. Where both bands are wide the caller runs the kernel
// twice, with one of the matrices the identity, so that they add instead of multiply.
//
// Run:  tinyfcn kernels run resample2d

#include "common.cuh"

template <typename T>
__global__ void resample2d(const T* __restrict__ x, T* __restrict__ y,
                           const int* __restrict__ row_bounds, const T* __restrict__ row_weights,
                           int row_width, const int* __restrict__ column_bounds,
                           const T* __restrict__ column_weights, int column_width, int h, int w,
                           int oh, int ow, i64 count) {
    FOR_EACH(i, count) {
        const i64 row = quotient(i, ow), plane = quotient(row, oh);
        const int o = (int)(row - plane * oh), p = (int)(i - row * ow);
        const int top = row_bounds[2 * o], bottom = row_bounds[2 * o + 1];
        const int left = column_bounds[2 * p], right = column_bounds[2 * p + 1];
        const i64 across = (i64)o * row_width - top, along = (i64)p * column_width - left;
        T sum = 0;
        for (int r = top; r < bottom; ++r) {
            const T* line = x + (plane * h + r) * w;
            T part = 0;
            for (int c = left; c < right; ++c) {
                part += column_weights[along + c] * line[c];
            }
            sum += row_weights[across + r] * part;
        }
        y[i] = sum;
    }
}
