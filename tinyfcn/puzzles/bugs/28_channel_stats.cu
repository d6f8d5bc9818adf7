// 28. A kernel that is right, nearly always
//
// The mean and the variance of each channel, for batch normalization; the
// variance divides by the number of pixels. A block of 128 threads does a
// channel. Twice it adds up 128 numbers in shared memory: the parts of the
// mean, then the parts of the variance. Its results can be right run after run,
// and it is wrong. Mend it.
//
//   x      (C, pixels), float
//   mean   (C), to be filled
//   var    (C), to be filled
//   pixels a number; C is the size of the grid
//   launch grid C, block 128
//
// Example, pixels 4:
//
// x (2, 4)   mean (2,)   var (2,)
// 8 6 5 2    5.25 0.75   4.688 1.688
// 3 0 0 0
//
// Graded: every number to 1e-5 of the largest, no access beyond an array, no
// race, in two orders of threads.
//
// Lesson: tinyfcn lessons 18

__device__ float total(float value, float* parts) {
    parts[threadIdx.x] = value;
    for (int half = 64; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    __syncthreads();
    return parts[0];
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
