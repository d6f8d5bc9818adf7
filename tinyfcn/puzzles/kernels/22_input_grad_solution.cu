// h + P - kh has to be a multiple of S, and its quotient in 0 ... OH - 1. Mind
// numbers below zero: in C++ -1 / 2 is 0.
//
// top = h + P - kh; skip the tap unless top >= 0, top % S == 0 and top / S <
// OH; the same for columns. Then sum over oc, and write gx once.

__global__ void input_grad(const float* gy, const float* weight, float* gx,
                           int C, int H, int W, int OC, int K, int S, int P,
                           int OH, int OW) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= C * H * W) return;
    const int w = i % W, h = i / W % H, c = i / (W * H);
    float sum = 0;
    for (int kh = 0; kh < K; kh++) {
        const int top = h + P - kh;
        if (top < 0 || top % S != 0 || top / S >= OH) continue;
        for (int kw = 0; kw < K; kw++) {
            const int left = w + P - kw;
            if (left < 0 || left % S != 0 || left / S >= OW) continue;
            for (int oc = 0; oc < OC; oc++) {
                const float g = gy[(oc * OH + top / S) * OW + left / S];
                sum += g * weight[((oc * C + c) * K + kh) * K + kw];
            }
        }
    }
    gx[i] = sum;
}
