// 21. Max pooling, and where the maxima were
//
// Puzzle 4 again, a thread an element of the result: the largest of its K x K
// window, and its index h * W + w in the plane of x. Of equal ones the first
// counts, row by row.
//
//   x        (C, H, W), float
//   y        (C, OH, OW), to be filled
//   indices  (C, OH, OW), int, to be filled
//   C, H, W, K, S, OH, OW  numbers: kernel K x K, stride S
//   launch   grid ceil(C * OH * OW / 64), block 64
//
// Example, C 1, H 4, W 4, K 2, S 2, OH 2, OW 2:
//
// x (1, 4, 4)   y (1, 2, 2)   indices (1, 2, 2)
// -5 -6 -7 -8   -5 -7          0  2
// -8 -9 -9 -9   -5 -5          9 11
// -9 -5 -6 -5
// -7 -6 -5 -6
//
// Graded: both results, no access beyond an array, no race, in two orders of
// threads; windows that overlap, ties, numbers that are all below zero.
//
// Lesson: tinyfcn lessons 6

__global__ void max_pool2d(const float* x, float* y, int* indices, int C, int H,
                           int W, int K, int S, int OH, int OW) {
    // your code
}
