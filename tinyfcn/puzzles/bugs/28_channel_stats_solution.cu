// The race is between the two calls of total. A thread that is early writes its
// part of the second sum; what does a thread that is late still read?
//
// All threads read parts[0], and thread 0 writes it at the second call. Between
// the two there has to be a barrier: read, __syncthreads(), return.

__device__ float total(float value, float* parts) {
    parts[threadIdx.x] = value;
    for (int half = 64; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    __syncthreads();
    const float result = parts[0];
    __syncthreads();
    return result;
}

__global__ void channel_stats(const float* x, float* mean, float* var,
                              int pixels) {
    __shared__ float parts[128];
    const int c = blockIdx.x;
    float sum = 0, squares = 0;
    for (int i = threadIdx.x; i < pixels; i += 128) sum += x[c * pixels + i];
    const float middle = total(sum, parts) / pixels;
    for (int i = threadIdx.x; i < pixels; i += 128) {
        const float d = x[c * pixels + i] - middle;
        squares += d * d;
    }
    const float variance = total(squares, parts) / pixels;
    if (threadIdx.x == 0) {
        mean[c] = middle;
        var[c] = variance;
    }
}
