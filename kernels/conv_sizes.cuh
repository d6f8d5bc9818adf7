// The parameters that say what a convolution is, the same ones in the same order for every kernel:
//
//   N C H W      images, channels, rows, columns of x
//   OC OH OW     channels, rows, columns of y
//   KH KW        rows and columns of the kernel; weight is (OC, C / G, KH, KW)
//   SH SW PH PW DH DW   stride, padding, dilation
//   G            groups: outputs g * OC / G .. see inputs g * C / G ..
//
// An image of x or y, the weights, and the pixels of all images of either have fewer than 2^31
// elements, so that an int counts them; offsets from image to image are i64.

#pragma once
#include "common.cuh"

#define CONV_SIZES                                                                           \
    int N, int C, int H, int W, int OC, int OH, int OW, int KH, int KW, int SH, int SW, int PH, \
        int PW, int DH, int DW, int G
#define CONV_GIVEN N, C, H, W, OC, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW, G

__device__ inline bool within(int i, int size) { return (unsigned)i < (unsigned)size; }

// The input gradient under a stride S falls into S * S smaller problems, its phases. Along one
// axis, pixel h met tap k in output (h + P - k * D) / S, if that is an integer; so pixels a,
// a + S, a + 2 S, .. met the same taps, `first`, `first + step`, .., and pixel a + S * u met tap
// number i of them in output start + u - i * apart. Without a stride one phase has all taps.
struct Phase {
    int first, step, taps, start, apart, pixels;
    __device__ Phase(int a, int size, int K, int S, int P, int D) {
        step = 1;
        while (step * D % S != 0) step++;
        first = 0;
        while (first < step && (a + P - first * D) % S != 0) first++;
        taps = first < step && first < K ? (K - first + step - 1) / step : 0;
        start = (a + P - first * D) / S;
        apart = step * D / S;
        pixels = a < size ? (size - a + S - 1) / S : 0;
    }
};
