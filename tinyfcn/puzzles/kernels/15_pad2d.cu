// 15. Blocks and threads in two dimensions
//
// An image with P rows and columns of zeros around it. A thread owns an element
// of the result: its column comes from blockIdx.x, blockDim.x, threadIdx.x, its
// row from blockIdx.y, blockDim.y, threadIdx.y. Threads with neighbouring
// threadIdx.x are in one warp, and should touch neighbouring memory.
//
//   x      (H, W), float: element (h, w) is x[h * W + w]
//   y      (H + 2 * P, W + 2 * P), to be filled, also with the zeros
//   H, W, P numbers; P may be 0
//   launch grid (ceil((W + 2 * P) / 32), ceil((H + 2 * P) / 4)), block (32, 4)
//
// Example, H 2, W 3, P 1:
//
// x (2, 3)   y (4, 5)
// 8 6 5      0 0 0 0 0
// 2 3 0      0 8 6 5 0
//            0 2 3 0 0
//            0 0 0 0 0
//
// Graded: every number, no access beyond an array, no race, in two orders of
// threads; and how many sectors of 32 bytes of memory warps write.

__global__ void pad2d(const float* x, float* y, int H, int W, int P) {
    // your code
}
