// Sums over the pixels of each channel of (N, C, ...), in two steps, the same bits every time.
//
// The count = N * pixels elements of a channel are numbered image by image and cut into parts
// of PART. A block has one part: each thread adds PART_ITEMS elements in T, the block adds its threads
// as a tree in double, and writes one number. A second kernel adds the parts. So no sum in float has
// more than PART_ITEMS terms.

#pragma once

#include "common.cuh"

constexpr int PART = 4096;  // elements
constexpr int PART_THREADS = 256;
constexpr int PART_ITEMS = PART / PART_THREADS;
constexpr int WHOLE = 4;  // parts of a channel that are few: then one block may do them all

// Goes over the elements of a part that belong to one thread: every PART_THREADS-th. Block
// channel * parts + part has that part. Divides when it starts, and steps without division.
struct PartWalk {
    i64 number;  // of the element in its channel; the channel ends at count
    i64 offset;  // of the element in the array
    i64 pixel, pixels, step_pixel, step_offset, to_next_image;

    __device__ PartWalk(int channels, i64 pixels, int parts)
        : PartWalk(channels, pixels, blockIdx.x / parts, blockIdx.x % parts) {}

    // The same of a part that is told. Whoever steps on goes through the parts behind it too.
    __device__ PartWalk(int channels, i64 pixels, i64 channel, int part) : pixels(pixels) {
        number = (i64)part * PART + threadIdx.x;
        const i64 image = quotient(number, pixels);
        pixel = number - image * pixels;
        offset = (image * channels + channel) * pixels + pixel;
        const i64 step_image = quotient(PART_THREADS, pixels);
        step_pixel = PART_THREADS - step_image * pixels;
        step_offset = step_image * channels * pixels + step_pixel;
        to_next_image = (i64)(channels - 1) * pixels;
    }

    __device__ void next() {
        number += PART_THREADS;
        offset += step_offset;
        pixel += step_pixel;
        if (pixel >= pixels) {
            pixel -= pixels;
            offset += to_next_image;
        }
    }
};

// The sum of the values of all PART_THREADS threads, for each of them. `shared` has as many places.
__device__ inline double block_sum(double value, double* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (u32 half = PART_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    const double sum = shared[0];
    __syncthreads();  // nobody writes the next values before all have read
    return sum;
}

// The sum over the parts of a channel, for each thread of the block.
__device__ inline double parts_sum(const double* sums, int parts, double* shared) {
    double sum = 0;
    for (int t = threadIdx.x; t < parts; t += PART_THREADS) sum += sums[t];
    return block_sum(sum, shared);
}
