// 30. A kernel that is right for small arrays
//
// Where in memory pixels lie: pixel (n, c, h, w) of an array (N, C, H, W) is
// element ((n * C + c) * H + h) * W + w. The results have 64 bits, since such
// an array may have more than 2^31 elements. In such an array it finds wrong
// places. Mend it.
//
//   places (4, count), int: row 0 is n of each pixel, then come c, h and w
//   at     (count), long long, to be filled
//   C, H, W, count  numbers
//   launch grid ceil(count / 64), block 64
//
// Example, C 5, H 6, W 7, count 5:
//
// places (4, 5)   at (5,)
// 3 2 2 1 1       656 459 444 234 419
// 0 0 0 0 4
// 3 5 3 3 5
// 5 4 3 3 6
//
// Graded: every number, no access beyond an array, no race, in two orders of
// threads; arrays of up to 2^33 elements.

__global__ void offsets(const int* places, long long* at, int C, int H, int W,
                        int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int n = places[i], c = places[count + i];
    const int h = places[2 * count + i], w = places[3 * count + i];
    at[i] = ((n * C + c) * H + h) * W + w;
}
