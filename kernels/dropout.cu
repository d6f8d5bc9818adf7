// Dropout from a counter: whether an element is dropped is a hash of the seed and its number.
//
//   kernel    NumPy twin    arrays
//   dropout   dropout       x, y of one shape
//
// Elements are numbered pixels first and channels fastest, (n, h, w, c), whatever the order in memory:
// so the mask is the twin's, bit by bit. Where x is no image, channels is 1 and pixels the count.
//
// One version: no mask is stored or read, only x is, by 128 bits. Two elements share a hash, and each
// makes it for itself, since in this order of memory they lie a plane apart.
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

template <typename Stored>
__global__ void dropout(const Stored* __restrict__ x, Stored* __restrict__ y, u64 seed,
                        u32 threshold, wide<Stored> scale, int channels, i64 pixels, i64 count) {
    for_each_vector<Stored>(count, aligned(x) && aligned(y), [=](i64 i, auto v) {
        using V = decltype(v);
        v = *(const V*)(x + i);
        const i64 plane = i / pixels, image = plane / channels;
        i64 pixel = i - plane * pixels, first = image * pixels * channels;
        int channel = (int)(plane - image * channels);
        u64 number = first + pixel * channels + channel;
        for (Stored& e : v.at) {
            e = random_bits(seed, number) >= threshold ? Stored(e * scale) : Stored(0);
            number += channels;
            if (++pixel < pixels) continue;
            pixel = 0;  // of the next channel
            if (++channel == channels) channel = 0, first += pixels * channels;
            number = first + channel;
        }
        *(V*)(y + i) = v;
    });
}
