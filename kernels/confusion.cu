// The confusion matrix of two label maps.
//
//   kernel       NumPy twin                                    arrays
//   confusion    tinyfcn/metrics.py, ConfusionMatrix.update    truth, prediction (count,) →
//                                                              counts (classes, classes), added to
//
// Pixels whose true label is `ignored` do not count. A pair outside 0 … classes − 1 is not counted
// either, but reported: counts has one place more at its end for the number of these.
//
// One version: a block counts in shared memory, which its threads reach in a few cycles, and adds its
// counts to the whole at the end. Whole numbers do not care in which order they are added, so
// atomics give the same result every time. Needs 4 · (classes² + 1) bytes of dynamic shared memory.
//
// Run:  python examples/kernel_lab.py run confusion

#include "common.cuh"

__global__ void confusion(const int* __restrict__ truth, const int* __restrict__ prediction,
                          u64* __restrict__ counts, int classes, int ignored, i64 count) {
    extern __shared__ u32 block_counts[];
    const int places = classes * classes + 1;
    for (int k = threadIdx.x; k < places; k += blockDim.x) block_counts[k] = 0;
    __syncthreads();
    FOR_EACH(i, count) {
        const int t = truth[i], p = prediction[i];
        if (t == ignored) continue;
        const bool inside = t >= 0 && t < classes && p >= 0 && p < classes;
        atomicAdd(&block_counts[inside ? t * classes + p : places - 1], 1u);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < places; k += blockDim.x) {
        if (block_counts[k]) atomicAdd(&counts[k], (u64)block_counts[k]);
    }
}
