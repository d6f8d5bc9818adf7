// The result is long long. Is what stands to the right of the = sign?
//
// The product of two ints is an int, whatever it is put into. One long long at
// the innermost place makes all that follows one: (((long long)n * C + c) * H +
// h) * W + w.

__global__ void offsets(const int* places, long long* at, int C, int H, int W,
                        int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int n = places[i], c = places[count + i];
    const int h = places[2 * count + i], w = places[3 * count + i];
    at[i] = (((long long)n * C + c) * H + h) * W + w;
}
