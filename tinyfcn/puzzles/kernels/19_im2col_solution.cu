// Division and remainder take a number apart: ow = i % OW, what is left is i /
// OW.
//
// ow = i % OW; oh = i / OW % OH; row = i / (OW * OH); kw = row % K; kh = row /
// K % K; c = row / (K * K).

__global__ void im2col(const float* x, float* columns, int C, int H, int W,
                       int K, int S, int P, int OH, int OW) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= C * K * K * OH * OW) return;
    const int ow = i % OW, oh = i / OW % OH, row = i / (OW * OH);
    const int kw = row % K, kh = row / K % K, c = row / (K * K);
    const int h = oh * S - P + kh, w = ow * S - P + kw;
    const bool inside = h >= 0 && h < H && w >= 0 && w < W;
    columns[i] = inside ? x[(c * H + h) * W + w] : 0;
}
