// 22. The input gradient, gathered tap by tap
//
// The gx of puzzle 3. Were a thread to own a pixel of gy and hand its products
// to gx, threads would write to the same pixels: a race. So a thread owns a
// pixel of gx and gathers: for each tap (kh, kw) of the kernel it asks which
// output pixel (oh, ow) has this input pixel under that tap, which is
//
//     oh * S - P + kh = h,   ow * S - P + kw = w.
//
// If there is one, gx[c, h, w] gets gy[oc, oh, ow] * weight[oc, c, kh, kw], for
// all oc.
//
//   gy       (OC, OH, OW), float
//   weight   (OC, C, K, K)
//   gx       (C, H, W), to be filled
//   C, H, W, OC, K, S, P, OH, OW  numbers: kernel K x K, stride S, padding P
//   launch   grid ceil(C * H * W / 64), block 64
//
// Example, C 1, H 3, W 3, OC 1, K 2, S 1, P 0, OH 2, OW 2:
//
// gy (1, 2, 2)   weight (1, 1, 2, 2)   gx (1, 3, 3)
// 2 1            3 2                   6 7 2
// 1 1            2 1                   7 9 3
//                                      2 3 1
//
// Graded: every number to 1e-5 of the largest, no access beyond an array, no
// race, in two orders of threads; strides above 1, padding, pixels that no
// window sees.
//
// Lesson: tinyfcn lessons 4

__global__ void input_grad(const float* gy, const float* weight, float* gx,
                           int C, int H, int W, int OC, int K, int S, int P,
                           int OH, int OW) {
    // your code
}
