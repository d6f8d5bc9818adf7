// 27. A kernel that is right for some sizes
//
// y[c, i] = x[c, i] + bias[c] where that is positive, else 0. With 64 or 128
// pixels this kernel is right. Mend it.
//
//   x      (C, pixels), float
//   bias   (C)
//   y      (C, pixels), to be filled
//   pixels a number; C is the height of the grid
//   launch grid (ceil(pixels / 64), C), block 64
//
// Example, pixels 3:
//
// x (2, 3)   bias (2,)   y (2, 3)
// 8 6 5      -4 -4       4 2 1
// 2 3 0                  0 0 0
//
// Graded: every number to 1e-5 of the largest, no access beyond an array, no
// race, in two orders of threads; several numbers of pixels.

__global__ void bias_relu(const float* x, const float* bias, float* y,
                          int pixels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, c = blockIdx.y;
    if (i > pixels) return;
    const float value = x[c * pixels + i] + bias[c];
    y[c * pixels + i] = value > 0 ? value : 0;
}
