// Convolution by its definition: a thread sums up one element of the result.
//
//   kernel                      NumPy twin           result
//   conv2d_direct               conv2d               y = x * weight + bias, or max(y, 0)
//   conv2d_direct_input_grad    conv2d_input_grad    gx, from gy and weight, + bias
//   conv2d_direct_weight_grad   conv2d_weight_grad   gw, from x and gy
//
// x, gx (N, C, H, W); y, gy (N, OC, OH, OW); weight, gw (OC, C / G, KH, KW); bias or null.
//
// One version: the plain one, to read and to hold the fast ones of conv2d.cu against. It reads
// every element again for every product, so it is slow, except where each output has few inputs,
// as in depthwise convolution.
//
// Run:  tinyfcn kernels run conv2d_direct

#include "conv_sizes.cuh"

template <typename Stored>
__global__ void conv2d_direct(const Stored* __restrict__ x, const Stored* __restrict__ weight,
                              const wide<Stored>* __restrict__ bias, Stored* __restrict__ y,
                              CONV_SIZES, int relu, i64 count) {
    const int CG = C / G, OCG = OC / G;
    FOR_EACH(i, count) {
        const int ow = i % OW, oh = i / OW % OH, oc = i / ((i64)OW * OH) % OC;
        const i64 n = i / ((i64)OW * OH * OC);
        const Stored* image = x + (n * C + oc / OCG * CG) * H * W;
        const Stored* tap = weight + (i64)oc * CG * KH * KW;
        wide<Stored> sum = bias ? bias[oc] : 0;
        for (int c = 0; c < CG; c++)
            for (int kh = 0; kh < KH; kh++)
                for (int kw = 0; kw < KW; kw++, tap++) {
                    const int h = oh * SH - PH + kh * DH, w = ow * SW - PW + kw * DW;
                    if (within(h, H) && within(w, W)) sum += image[(c * H + h) * W + w] * *tap;
                }
        y[i] = Stored(relu && sum < 0 ? 0 : sum);
    }
}

// Pixel h met tap kh in output (h + PH - kh * DH) / SH, where that is an integer.
template <typename Stored>
__global__ void conv2d_direct_input_grad(const Stored* __restrict__ gy,
                                         const Stored* __restrict__ weight,
                                         const wide<Stored>* __restrict__ bias,
                                         Stored* __restrict__ gx, CONV_SIZES, i64 count) {
    const int CG = C / G, OCG = OC / G;
    FOR_EACH(i, count) {
        const int w = i % W, h = i / W % H, c = i / ((i64)W * H) % C;
        const i64 n = i / ((i64)W * H * C);
        wide<Stored> sum = bias ? bias[c] : 0;
        for (int kh = 0; kh < KH; kh++) {
            const int top = h + PH - kh * DH, oh = top / SH;
            if (top % SH != 0 || !within(oh, OH)) continue;
            for (int kw = 0; kw < KW; kw++) {
                const int left = w + PW - kw * DW, ow = left / SW;
                if (left % SW != 0 || !within(ow, OW)) continue;
                for (int oc = c / CG * OCG; oc < (c / CG + 1) * OCG; oc++)
                    sum += gy[((n * OC + oc) * OH + oh) * OW + ow] *
                           weight[((oc * CG + c % CG) * KH + kh) * KW + kw];
            }
        }
        gx[i] = Stored(sum);
    }
}

template <typename Stored>
__global__ void conv2d_direct_weight_grad(const Stored* __restrict__ x,
                                          const Stored* __restrict__ gy,
                                          wide<Stored>* __restrict__ gw, CONV_SIZES, i64 count) {
    const int CG = C / G, OCG = OC / G;
    FOR_EACH(i, count) {
        const int kw = i % KW, kh = i / KW % KH, cg = i / (KW * KH) % CG;
        const int oc = i / ((i64)KW * KH * CG), c = oc / OCG * CG + cg;
        wide<Stored> sum = 0;
        for (i64 n = 0; n < N; n++)
            for (int oh = 0; oh < OH; oh++)
                for (int ow = 0; ow < OW; ow++) {
                    const int h = oh * SH - PH + kh * DH, w = ow * SW - PW + kw * DW;
                    if (within(h, H) && within(w, W))
                        sum += x[((n * C + c) * H + h) * W + w] *
                               gy[((n * OC + oc) * OH + oh) * OW + ow];
                }
        gw[i] = sum;
    }
}
