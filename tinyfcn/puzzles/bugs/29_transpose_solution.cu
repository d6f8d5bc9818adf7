// The threads t = 0 ... 31 of a warp read tile[t][r]: words 32 * t + r. In
// which banks are they?
//
// All in bank r. With rows of 33 floats, tile[32][33], they are words 33 * t +
// r, in bank (t + r) % 32: each in another. The last column stays empty.

__global__ void transpose(const float* x, float* y, int H, int W) {
    __shared__ float tile[32][33];
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
