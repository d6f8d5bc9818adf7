// Two trees as in puzzle 17, one of max and one of sums. If they use the same
// shared array, who still reads the result of the first while another writes
// for the second?
//
// After the first tree: __syncthreads(); const float m = shared[0];
// __syncthreads(); and only then may a thread write its part of the sum.
// Likewise before all read the total.

__device__ float reduced(float value, bool add, float* parts) {
    parts[threadIdx.x] = value;
    for (int half = 64; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            const float other = parts[threadIdx.x + half], mine = parts[threadIdx.x];
            parts[threadIdx.x] = add ? mine + other : max(mine, other);
        }
    }
    __syncthreads();
    const float result = parts[0];
    __syncthreads();
    return result;
}

__global__ void softmax(const float* x, float* y, int columns) {
    __shared__ float parts[128];
    x += blockIdx.x * columns;
    y += blockIdx.x * columns;
    float largest = -INFINITY, sum = 0;
    for (int c = threadIdx.x; c < columns; c += 128) largest = max(largest, x[c]);
    largest = reduced(largest, false, parts);
    for (int c = threadIdx.x; c < columns; c += 128) sum += expf(x[c] - largest);
    sum = reduced(sum, true, parts);
    for (int c = threadIdx.x; c < columns; c += 128) y[c] = expf(x[c] - largest) / sum;
}
