// Places of a tile beyond the matrices hold 0, so that the products need no
// guard. Why are there two barriers in the loop? One for those who read a tile
// that is not full yet, one for those who fill the next while others still read
// this one.
//
// left[y][x] = a[m, k0 + x], right[y][x] = b[k0 + y, n], with x = threadIdx.x,
// y = threadIdx.y; the sum is over left[y][k] * right[k][x]. The guard of c
// comes last: all threads have to reach the barriers.

__global__ void gemm(const float* a, const float* b, float* c, int M, int N,
                     int K) {
    __shared__ float left[16][16], right[16][16];
    const int x = threadIdx.x, y = threadIdx.y;
    const int n = blockIdx.x * 16 + x, m = blockIdx.y * 16 + y;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += 16) {
        left[y][x] = m < M && k0 + x < K ? a[m * K + k0 + x] : 0;
        right[y][x] = k0 + y < K && n < N ? b[(k0 + y) * N + n] : 0;
        __syncthreads();
        for (int k = 0; k < 16; k++) sum += left[y][k] * right[k][x];
        __syncthreads();
    }
    if (m < M && n < N) c[m * N + n] = sum;
}
