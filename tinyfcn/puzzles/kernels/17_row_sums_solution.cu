// Where do threads have to wait for each other? After each step of the tree:
// what it reads, others have written in the one before.
//
// __shared__ float sums[128]; each thread writes its own sum there. Then for
// (int half = 64; half > 0; half /= 2) { __syncthreads(); if (threadIdx.x <
// half) sums[threadIdx.x] += sums[threadIdx.x + half]; } and thread 0, which
// has added last, writes y[blockIdx.x].

__global__ void row_sums(const float* x, float* y, int columns) {
    __shared__ float sums[128];
    float sum = 0;
    for (int c = threadIdx.x; c < columns; c += 128) sum += x[blockIdx.x * columns + c];
    sums[threadIdx.x] = sum;
    for (int half = 64; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = sums[0];
}
