// Softmax cross-entropy of each pixel, and its gradient.
//
//   kernel               computes
//   cross_entropy        log(sum(exp(x))) - x[label]
//   cross_entropy_grad   gx = gy * (softmax(x) - one-hot(label))
//
// NumPy twins: the primitives of the same names. x and gx are (N, C, pixels); labels, gy and losses
// (N, pixels). A label of -1 is a pixel that does not count: its loss and its gradient are 0.
//
// One version: a thread a pixel goes along its classes. Neighbouring threads have neighbouring pixels,
// so reads are whole lines; softmax and loss in one kernel save an array of the size of x each way.
//
// Run:  tinyfcn kernels run cross_entropy

#include "common.cuh"

// The largest x of a pixel and the sum of exp(x - largest). Where the first misses a NaN, the sum
// finds it.
template <typename Stored, typename T>
__device__ void largest_and_sum(const Stored* __restrict__ x, int classes, i64 pixels, T& largest,
                                T& sum) {
    largest = x[0];
    for (int c = 1; c < classes; ++c) {
        if (x[c * pixels] > largest) largest = x[c * pixels];
    }
    sum = 0;
    for (int c = 0; c < classes; ++c) sum += exp(x[c * pixels] - largest);
}

// Where pixel i of all images has its class 0.
__device__ inline i64 first_class(i64 i, int classes, i64 pixels) {
    const i64 image = i / pixels;
    return image * classes * pixels + (i - image * pixels);
}

template <typename Stored>
__global__ void cross_entropy(const Stored* __restrict__ x, const int* __restrict__ labels,
                              wide<Stored>* __restrict__ loss, int classes, i64 pixels, i64 count) {
    FOR_EACH(i, count) {
        const int label = labels[i];
        loss[i] = 0;
        if (label < 0) continue;
        const Stored* logits = x + first_class(i, classes, pixels);
        wide<Stored> largest, sum;
        largest_and_sum(logits, classes, pixels, largest, sum);
        loss[i] = log(sum) - (logits[label * pixels] - largest);
    }
}

template <typename Stored>
__global__ void cross_entropy_grad(const wide<Stored>* __restrict__ gy,
                                   const Stored* __restrict__ x, const int* __restrict__ labels,
                                   Stored* __restrict__ gx, int classes, i64 pixels, i64 count) {
    using T = wide<Stored>;
    FOR_EACH(i, count) {
        const int label = labels[i];
        const i64 start = first_class(i, classes, pixels);
        if (label < 0) {
            for (int c = 0; c < classes; ++c) gx[start + c * pixels] = Stored(0);
            continue;
        }
        T largest, sum;
        largest_and_sum(x + start, classes, pixels, largest, sum);
        const T scale = gy[i] / sum;
        for (int c = 0; c < classes; ++c) {
            const T g = exp(x[start + c * pixels] - largest) * scale;
            gx[start + c * pixels] = Stored(c == label ? g - gy[i] : g);
        }
    }
}
