// What does the check say? Which thread is it, which channel and pixel are its
// own, and whose is the element that it writes?
//
// The pixels are 0 to pixels - 1, so thread i = pixels has to go, too: i >=
// pixels. It wrote the first pixel of the next channel, or beyond the array.

__global__ void bias_relu(const float* x, const float* bias, float* y,
                          int pixels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, c = blockIdx.y;
    if (i >= pixels) return;
    const float value = x[c * pixels + i] + bias[c];
    y[c * pixels + i] = value > 0 ? value : 0;
}
