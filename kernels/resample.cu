// Resampling: y = rows * x * columns^T on every plane, with banded matrices.
//
//   kernel       NumPy twin    arrays
//   resample2d   resample2d    x (planes, H, W) -> y (planes, OH, OW)
//
// One kernel is average pooling, bilinear and nearest resizing, padding by reflection, and the adjoint
// of each. A matrix comes as bands: row i is 0 but for bounds[2 i] .. bounds[2 i + 1] - 1, and these
// are the first of row i of weights, which has `width` places.
//
// One version, in gather form: a thread has ROWS outputs below each other, each the sum of its rows x
// columns inputs. Bilinear resizing has 2 x 2 of them, from the cache. Where both bands are wide the
// caller runs the kernel twice, with one of the matrices the identity, so that they add instead of
// multiply; what lies between is not rounded: wide_y of one is wide_x of the other.
//
// Run:  tinyfcn kernels run resample2d

#include "common.cuh"

constexpr int ROWS = 4;

// Row i of `bounds` and `weights`, which have `width` places.
template <typename T> struct Band {
    int from, to;
    const T* weights;  // of these

    __device__ Band(const int* bounds, const T* weights, int width, int i)
        : from(bounds[2 * i]), to(bounds[2 * i + 1]), weights(weights + (i64)i * width - from) {}
};

template <typename From, typename To, typename T>
__device__ void resample(const From* __restrict__ x, To* __restrict__ y, const int* row_bounds,
                         const T* row_weights, int row_width, const int* column_bounds,
                         const T* column_weights, int column_width, int h, int w, int oh, int ow,
                         i64 count) {
    const int groups = (oh + ROWS - 1) / ROWS;
    FOR_EACH(i, count) {
        const i64 group = i / ow, plane = group / groups;
        const int first = (int)(group - plane * groups) * ROWS, p = (int)(i - group * ow);
        const Band<T> columns(column_bounds, column_weights, column_width, p);
        for (int o = first; o < oh && o < first + ROWS; ++o) {
            const Band<T> rows(row_bounds, row_weights, row_width, o);
            T sum = 0;
            for (int r = rows.from; r < rows.to; ++r) {
                const From* line = x + (plane * h + r) * w;
                T part = 0;
                for (int c = columns.from; c < columns.to; ++c) part += columns.weights[c] * line[c];
                sum += rows.weights[r] * part;
            }
            y[(plane * oh + o) * ow + p] = To(sum);
        }
    }
}

// One of x and wide_x, and one of y and wide_y, is null.
template <typename Stored>
__global__ void resample2d(const Stored* __restrict__ x, const wide<Stored>* __restrict__ wide_x,
                           Stored* __restrict__ y, wide<Stored>* __restrict__ wide_y,
                           const int* __restrict__ row_bounds,
                           const wide<Stored>* __restrict__ row_weights, int row_width,
                           const int* __restrict__ column_bounds,
                           const wide<Stored>* __restrict__ column_weights, int column_width, int h,
                           int w, int oh, int ow, i64 count) {
    const auto run = [=](auto from, auto to) {
        resample(from, to, row_bounds, row_weights, row_width, column_bounds, column_weights,
                 column_width, h, w, oh, ow, count);
    };
    if (wide_y)
        run(x, wide_y);
    else if (wide_x)
        run(wide_x, y);
    else
        run(x, y);
}
