// 29. A kernel that is right, and slow
//
// y = x transposed. Reading rows and writing columns would touch a sector (32
// bytes) of memory for each element. So a block transposes a tile of 32 x 32 in
// shared memory: it reads rows of x, and writes rows of y. So far so good.
// Shared memory has 32 banks of 4 bytes, word number i in bank i % 32; threads
// of a warp that read different words of one bank have to queue. Mend it: no
// queue.
//
//   x      (H, W), float
//   y      (W, H), to be filled
//   H, W   numbers
//   launch grid (ceil(W / 32), ceil(H / 32)), block (32, 8)
//
// Example, H 2, W 3:
//
// x (2, 3)   y (3, 2)
// 8 6 5      8 2
// 2 3 0      6 3
//            5 0
//
// Graded: every number, no access beyond an array, no race, in two orders of
// threads; the turns that reads of shared memory take, and the sectors that are
// read and written.

__global__ void transpose(const float* x, float* y, int H, int W) {
    __shared__ float tile[32][32];
    const int left = blockIdx.x * 32, top = blockIdx.y * 32, t = threadIdx.x;
    for (int r = threadIdx.y; r < 32; r += 8) {
        const int row = top + r, column = left + t;
        if (row < H && column < W) tile[r][t] = x[row * W + column];
    }
    __syncthreads();
    for (int r = threadIdx.y; r < 32; r += 8) {
        const int row = left + r, column = top + t;
        if (row < W && column < H) y[row * H + column] = tile[t][r];
    }
}
