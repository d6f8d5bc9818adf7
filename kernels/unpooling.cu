// Unpooling without indices: a pixel becomes a cell of FH × FW pixels.
//
//   kernel                        computes                                   threads
//   unpool_nearest                the pixel in its whole cell                one for each pixel of y
//   unpool_nearest_adjoint        the sum of each cell, row by row           one for each cell
//   unpool_bed_of_nails           the pixel in the corner, else 0            one for each pixel of y
//   unpool_bed_of_nails_adjoint   the corner of each cell                    one for each cell
//
// NumPy twins: tinyfcn/backend/cpu/unpooling.py. x is (planes, H, W), y (planes, H · FH, W · FW), with
// planes = N · C. Since a plane is a whole number of cells, rows of all planes are counted as one.
//
// One version each: every element is read and written once, writes are in order.
//
// Run:  tinyfcn kernels run unpool_nearest

#include "common.cuh"

template <typename T>
__global__ void unpool_nearest(const T* __restrict__ x, T* __restrict__ y, int w, int fh, int fw,
                               i64 count) {
    FOR_EACH(i, count) {
        const i64 row = quotient(i, w * fw);
        const int column = (int)(i - row * (w * fw));
        y[i] = x[quotient(row, fh) * w + column / fw];
    }
}

template <typename T>
__global__ void unpool_nearest_adjoint(const T* __restrict__ gy, T* __restrict__ gx, int w, int fh,
                                       int fw, i64 count) {
    FOR_EACH(i, count) {
        const i64 row = quotient(i, w);
        const T* cell = gy + row * fh * (w * fw) + (i - row * w) * fw;
        T sum = 0;
        for (int r = 0; r < fh; ++r) {
            for (int c = 0; c < fw; ++c) sum += cell[(i64)r * (w * fw) + c];
        }
        gx[i] = sum;
    }
}

template <typename T>
__global__ void unpool_bed_of_nails(const T* __restrict__ x, T* __restrict__ y, int w, int fh,
                                    int fw, i64 count) {
    FOR_EACH(i, count) {
        const i64 row = quotient(i, w * fw), source = quotient(row, fh);
        const int column = (int)(i - row * (w * fw));
        const bool corner = row == source * fh && column % fw == 0;
        y[i] = corner ? x[source * w + column / fw] : T(0);
    }
}

template <typename T>
__global__ void unpool_bed_of_nails_adjoint(const T* __restrict__ gy, T* __restrict__ gx, int w,
                                            int fh, int fw, i64 count) {
    FOR_EACH(i, count) {
        const i64 row = quotient(i, w);
        gx[i] = gy[row * fh * (w * fw) + (i - row * w) * fw];
    }
}
