// 64 threads fill 70 places: some do two. Which element of x belongs to place
// t, and which threads sum?
//
// Place t holds x[first - 3 + t], where first = blockIdx.x * 64, or 0 if that
// is not in 0 ... n - 1. Fill in a loop: for (int t = threadIdx.x; t < 70; t +=
// 64). After the barrier, thread i sums the places i to i + 6, if its element
// is there.

__global__ void shared(const float* x, float* y, int n) {
    __shared__ float tile[70];
    const int first = blockIdx.x * 64, i = first + threadIdx.x;
    for (int t = threadIdx.x; t < 70; t += 64) {
        const int at = first - 3 + t;
        tile[t] = at >= 0 && at < n ? x[at] : 0;
    }
    __syncthreads();
    if (i >= n) return;
    float sum = 0;
    for (int t = 0; t < 7; t++) sum += tile[threadIdx.x + t];
    y[i] = sum;
}
