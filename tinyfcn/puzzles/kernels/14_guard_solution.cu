// An if around the line, or a return in front of it.
//
// const int i = blockIdx.x * blockDim.x + threadIdx.x; then if (i < n).

__global__ void guard(const float* x, float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] > 0 ? x[i] : 0;
}
