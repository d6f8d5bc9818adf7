// Sums over the pixels of each channel of (N, C, ...), in two steps, the same bits every time.
//
// The count = N * pixels elements of a channel are numbered image by image and cut into parts
// of PART. A block has one part: each thread adds PART_ITEMS elements in T, the block adds its threads
// in double, and writes one number. A second kernel adds the parts. So no sum in float has more
// than PART_ITEMS terms. A thread has GROUP elements side by side, then others; or single ones,
// where images are no multiple of GROUP, or an array begins where no GROUP may be read at once.

#pragma once

#include "common.cuh"

constexpr int PART = 4096;  // elements
constexpr int PART_THREADS = 256;
constexpr int PART_ITEMS = PART / PART_THREADS;
constexpr int GROUP = 4;
constexpr int ADDERS = 16;
constexpr int WHOLE = 4;  // parts of a channel that are few: then one block may do them all

__device__ inline int part_size(int part, i64 count) {
    const i64 rest = count - (i64)part * PART;
    return rest < PART ? (int)rest : PART;
}

// work(v), where v is the Pack by which channels of these arrays are gone over.
template <typename T, typename Work, typename... Arrays>
__device__ void by_groups(i64 pixels, Work work, Arrays... arrays) {
    if (pixels % GROUP == 0 && (... && Pack<T, GROUP>::fits(arrays)))
        work(Pack<T, GROUP>());
    else
        work(Pack<T, 1>());
}

// No walk comes so far as 2^30 pixels.
__device__ inline int at_most_far(i64 pixels) { return pixels < 1 << 30 ? (int)pixels : 1 << 30; }

// Goes over the elements of a part that belong to one thread, so many side by side at a time. Divides
// when it starts, and steps without division. From part 0 on it may go through those behind it, up to
// WHOLE.
template <int COUNT> struct PartWalk {
    static constexpr int STEP = PART_THREADS * COUNT, STEPS = PART_ITEMS / COUNT;
    int number;  // in the part, of the first of them; the part ends at its size
    i64 offset;  // in the array
    int left, image, step_pixel;  // pixels: from it to the end of its image; of an image; of a step
    i64 step_offset, to_next_image;

    __device__ PartWalk(int channels, i64 pixels, i64 channel, int part) {
        number = threadIdx.x * COUNT;
        const i64 first = (i64)part * PART + number, n = first / pixels;
        const i64 pixel = first - n * pixels, step_image = STEP / pixels;
        offset = (n * channels + channel) * pixels + pixel;
        step_pixel = (int)(STEP - step_image * pixels);
        step_offset = step_image * channels * pixels + step_pixel;
        to_next_image = (i64)(channels - 1) * pixels;
        left = at_most_far(pixels - pixel);
        image = at_most_far(pixels);
    }

    __device__ void next() {
        number += STEP;
        offset += step_offset;
        left -= step_pixel;
        if (left <= 0) {
            left += image;
            offset += to_next_image;
        }
    }
};

// The sum of the values of all PART_THREADS threads, for each of them: some threads add every
// ADDERS-th, then all add what these have. `shared` has a place for each thread.
__device__ inline double block_sum(double value, double* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.x < ADDERS) {
        for (int t = threadIdx.x + ADDERS; t < PART_THREADS; t += ADDERS) value += shared[t];
        shared[threadIdx.x] = value;
    }
    __syncthreads();
    double sum = 0;
    for (int t = 0; t < ADDERS; t++) sum += shared[t];
    __syncthreads();  // nobody writes the next values before all have read
    return sum;
}

// The sum over the parts of a channel, for each thread of the block.
__device__ inline double parts_sum(const double* sums, int parts, double* shared) {
    double sum = 0;
    for (int t = threadIdx.x; t < parts; t += PART_THREADS) sum += sums[t];
    return block_sum(sum, shared);
}
