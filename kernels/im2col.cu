// Columns: every window of an image written out, so that a convolution is one matrix product.
//
//   kernel   NumPy twin                               in                     out
//   im2col   tinyfcn/backend/cpu/conv/im2col.py       x (C / G, H, W)        columns, below
//   col2im   the same, its adjoint                    columns                gx (C / G, H, W)
//
// columns (C / G, KH, KW, OH, OW): element (c, kh, kw, oh, ow) is x at row oh * SH - PH + kh * DH
// and column ow * SW - PW + kw * DW of channel c, or 0 outside. col2im sums up, for each pixel, the
// elements it went to: gather form. x is one group of one image, since the columns take KH * KW
// times its memory.
//
// One version each: they are bound by memory and write every element once, side by side.
//
// Run:  tinyfcn kernels run im2col

#include "conv_sizes.cuh"

template <typename T>
__global__ void im2col(const T* __restrict__ x, T* __restrict__ columns, CONV_SIZES, i64 count) {
    FOR_EACH(i, count) {
        const int ow = i % OW, oh = i / OW % OH;
        const i64 row = i / ((i64)OW * OH);  // (c * KH + kh) * KW + kw
        const int kw = row % KW, kh = row / KW % KH;
        const int h = oh * SH - PH + kh * DH, w = ow * SW - PW + kw * DW;
        const bool inside = within(h, H) && within(w, W);
        columns[i] = inside ? x[(row / (KW * KH) * H + h) * W + w] : T(0);
    }
}

template <typename T>
__global__ void col2im(const T* __restrict__ columns, T* __restrict__ gx, CONV_SIZES, i64 count) {
    FOR_EACH(i, count) {
        const int w = i % W, h = i / W % H;
        const i64 c = i / ((i64)W * H);
        T sum = 0;
        for (int kh = 0; kh < KH; kh++) {
            const int top = h + PH - kh * DH, oh = top / SH;
            if (top % SH != 0 || !within(oh, OH)) continue;
            for (int kw = 0; kw < KW; kw++) {
                const int left = w + PW - kw * DW, ow = left / SW;
                if (left % SW != 0 || !within(ow, OW)) continue;
                sum += columns[(((c * KH + kh) * KW + kw) * OH + oh) * OW + ow];
            }
        }
        gx[i] = sum;
    }
}
