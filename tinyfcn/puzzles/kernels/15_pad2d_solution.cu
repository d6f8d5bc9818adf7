// Which pixel of x lies under element (row, column) of y, and when is there
// one? Guard both axes of y first, and both of x after that.
//
// h = row - P and w = column - P; y is x[h * W + w] where 0 <= h < H and 0 <= w
// < W, else 0.

__global__ void pad2d(const float* x, float* y, int H, int W, int P) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= H + 2 * P || column >= W + 2 * P) return;
    const int h = row - P, w = column - P;
    const bool inside = h >= 0 && h < H && w >= 0 && w < W;
    y[row * (W + 2 * P) + column] = inside ? x[h * W + w] : 0;
}
