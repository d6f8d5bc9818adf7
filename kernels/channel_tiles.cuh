// Sums over the pixels of each channel of (N, C, …), in two steps and with the same bits every time.
//
// The count = N · pixels elements of a channel are numbered image by image and cut into tiles of
// TILE. A block has one tile: each thread adds TILE_ITEMS elements in T, the block adds its threads
// as a tree in double, and writes one number. A second kernel adds the tiles. So no sum in float has
// more than TILE_ITEMS terms.

#pragma once

#include "common.cuh"

constexpr int TILE_THREADS = 256;
constexpr int TILE_ITEMS = 16;
constexpr int TILE = TILE_THREADS * TILE_ITEMS;

// Goes over the elements of a tile that belong to one thread: every TILE_THREADS-th. Block
// channel · tiles + tile has that tile. Divides when it starts, and steps without division.
struct TileWalk {
    i64 number;  // of the element in its channel; the channel ends at count
    i64 offset;  // of the element in the array
    i64 pixel, pixels, step_pixel, step_offset, to_next_image;

    __device__ TileWalk(int channels, i64 pixels, int tiles) : pixels(pixels) {
        const i64 channel = blockIdx.x / tiles;
        number = (i64)(blockIdx.x % tiles) * TILE + threadIdx.x;
        const i64 image = quotient(number, pixels);
        pixel = number - image * pixels;
        offset = (image * channels + channel) * pixels + pixel;
        const i64 step_image = quotient(TILE_THREADS, pixels);
        step_pixel = TILE_THREADS - step_image * pixels;
        step_offset = step_image * channels * pixels + step_pixel;
        to_next_image = (i64)(channels - 1) * pixels;
    }

    __device__ void next() {
        number += TILE_THREADS;
        offset += step_offset;
        pixel += step_pixel;
        if (pixel >= pixels) {
            pixel -= pixels;
            offset += to_next_image;
        }
    }
};

// The sum of the values of all TILE_THREADS threads, for each of them. `shared` has as many places.
__device__ inline double block_sum(double value, double* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (u32 half = TILE_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    const double sum = shared[0];
    __syncthreads();  // nobody writes the next values before all have read
    return sum;
}
