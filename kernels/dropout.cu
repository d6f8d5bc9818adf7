// Dropout from a counter: whether an element is dropped is a hash of the seed and its number.
//
//   kernel    NumPy twin    arrays
//   dropout   dropout       x, y of one shape
//
// Elements are numbered pixels first and channels fastest, (n, h, w, c), whatever the order in memory:
// so the mask is the twin's, bit by bit. Where x is no image, channels is 1 and pixels the count.
//
// One version: no mask is stored or read, only x is. Two elements share a hash, and each makes it for
// itself, since in this order of memory they lie a plane apart.
//
// Run:  tinyfcn kernels run dropout

#include "common.cuh"

// Random number i of the seed: the lower, for odd i the upper, half of SplitMix64 word i / 2 (Steele,
// Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
__device__ inline u32 random_bits(u64 seed, u64 i) {
    u64 z = (i / 2 + 1) * 0x9E3779B97F4A7C15ULL + seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    return (u32)(i % 2 ? z >> 32 : z);
}

template <typename T>
__global__ void dropout(const T* __restrict__ x, T* __restrict__ y, u64 seed, u32 threshold,
                        T scale, int channels, i64 pixels, i64 count) {
    FOR_EACH(i, count) {
        const i64 plane = quotient(i, pixels), image = quotient(plane, channels);
        const i64 channel = plane - image * channels, pixel = i - plane * pixels;
        const u64 number = (image * pixels + pixel) * channels + channel;
        y[i] = random_bits(seed, number) >= threshold ? x[i] * scale : T(0);
    }
}
