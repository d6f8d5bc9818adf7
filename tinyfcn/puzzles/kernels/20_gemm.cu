// 20. A matrix product in tiles
//
// c = a b. A block of 16 x 16 threads makes a tile of 16 x 16 elements of c, an
// element a thread. It goes along k in steps of 16: all threads together copy a
// tile of a and a tile of b into shared memory, an element each, wait, add 16
// products each, wait again, and go on. Each element that was read once is then
// used 16 times.
//
//   a      (M, K), float
//   b      (K, N)
//   c      (M, N), to be filled
//   M, N, K numbers; none has to be a multiple of 16
//   launch grid (ceil(N / 16), ceil(M / 16)), block (16, 16): x runs along N
//
// Example, M 2, N 3, K 2:
//
// a (2, 2)   b (2, 3)   c (2, 3)
// 8 6        3 0 0      24  6 48
// 5 2        0 1 8      15  2 16
//
// Graded: every number to 1e-5 of the largest, no access beyond an array, no
// race, in two orders of threads; a block reads nothing twice from a or b.
//
// Lesson: tinyfcn lessons 17

__global__ void gemm(const float* a, const float* b, float* c, int M, int N,
                     int K) {
    // your code
}
