// 19. Every window of an image as a column
//
// Puzzle 1 again, a thread an element of the result. From its number i the
// thread works out which channel c, which place (kh, kw) in the window and
// which window (oh, ow) it stands for: ow runs fastest, then oh, kw, kh, c. The
// element is x at row oh * S - P + kh and column ow * S - P + kw of channel c,
// or 0 outside.
//
//   x        (C, H, W), float
//   columns  (C * K * K, OH * OW), to be filled
//   C, H, W, K, S, P, OH, OW  numbers: kernel K x K, stride S, padding P
//   launch   grid ceil(C * K * K * OH * OW / 128), block 128
//
// Example, C 1, H 3, W 3, K 2, S 1, P 0, OH 2, OW 2:
//
// x (1, 3, 3)   columns (4, 4)
// 8 6 5         8 6 2 3
// 2 3 0         6 5 3 0
// 0 0 1         2 3 0 0
//               3 0 0 1
//
// Graded: every number, no access beyond an array, no race, in two orders of
// threads; several sizes, kernels, strides and paddings.
//
// Lesson: tinyfcn lessons 3

__global__ void im2col(const float* x, float* columns, int C, int H, int W,
                       int K, int S, int P, int OH, int OW) {
    // your code
}
