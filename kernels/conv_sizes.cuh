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

__device__ inline bool within(int i, int size) { return (unsigned)i < (unsigned)size; }
