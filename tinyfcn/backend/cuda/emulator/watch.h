// Watches every access to memory, in mode "check": g++ puts a call before each one
// (-fsanitize=thread, bounds, alignment) and the functions called are here, in place of its runtime
// libraries. In other modes nothing is watched.
//
// Global memory has a cell for each element, shared memory for each byte. A cell remembers the last
// write and the last reads. Two accesses race if one is a write, not both are atomic, and nothing
// orders them: they are of different blocks, or of different threads of a block with no barrier
// between them. __syncwarp orders the lanes that it names.

#pragma once

#ifndef TINYFCN_CHECK

namespace emulator {
namespace watch {
inline void launch_begins() {}
inline void launch_ends() {}
inline void block_begins() {}
inline void block_ends() {}
inline void block_in_order() {}
inline void waits(int) {}
inline void warp_in_order(int, unsigned int) {}
inline void copy_begins(char*, const char*, int, bool, const void*) {}
inline void copy_ends(char*, int, const void*) {}
}  // namespace watch
}  // namespace emulator

#else

#include <stdlib.h>
#include <string.h>

#include "profile.h"

namespace emulator {
namespace watch {

typedef unsigned int u32;

struct Access {
    u32 block;     // running number of the block, over all launches; 0 for no access
    u32 interval;  // running number of the time between two barriers
    u32 time;      // of the warp: how often its lanes were put in order
    u32 code;      // offset in the library
    unsigned short thread;
    unsigned char kind;
};

struct Cell {
    Access write, read;
    Access other_read;    // by another thread of the block, in the same interval
    Access foreign_read;  // by another block
    bool awaited;         // an asynchronous copy is to write it
};

// Numbers of the blocks of this launch, to say which one a cell means.
u32 block_number, interval, first_block;
uint3* block_indices;
u32 warp_time[MOST_THREADS / WARP], ordered_at[MOST_THREADS], ordered_with[MOST_THREADS];

Cell** cells;  // of each array
Cell* shared_cells;
char* shared;
Profile profile;

void launch_begins() {
    first_block = block_number + 1;
    block_indices = (uint3*)malloc(sizeof(uint3) * gridDim.x * gridDim.y * gridDim.z);
    shared = image.shared();
    profile.forget();
    if (!shared_cells) shared_cells = (Cell*)calloc(image.shared_bytes + 1, sizeof(Cell));
    cells = (Cell**)malloc((launched->array_count + 1) * sizeof(Cell*));
    for (int i = 0; i < launched->array_count; ++i) {
        const Array& array = launched->arrays[i];
        cells[i] = (Cell*)calloc(array.bytes / array.granule + 1, sizeof(Cell));
    }
}

void launch_ends() {
    free(block_indices);
    for (int i = 0; i < launched->array_count; ++i) free(cells[i]);
    free(cells);
}

void block_in_order() { ++interval; }

void block_begins() {
    block_indices[++block_number - first_block] = blockIdx;
    ++interval;
    memset(ordered_with, 0, sizeof ordered_with);
}

void block_ends() {
    if (!launched->profile) return;
    profile.trace.finish();
    profile.add_block();
}

void warp_in_order(int warp, u32 lanes) {
    ++warp_time[warp];
    for (int lane = 0; lane < WARP; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        ordered_at[warp * WARP + lane] = warp_time[warp];
        ordered_with[warp * WARP + lane] = lanes;
    }
}

bool traced() {
    return launched->trace ==
           1 + blockIdx.x + (u64)gridDim.x * (blockIdx.y + (u64)gridDim.y * blockIdx.z);
}

void waits(int line) {
    if (traced()) profile.trace.add({0, 0, {}, WAIT, 0, 0, current->thread, line, -1, 0, 0});
}

bool ordered(const Access& before, const Access& now, bool in_shared) {
    if (before.block != now.block) return in_shared;  // each block has its own
    if (before.thread == now.thread || before.interval != now.interval) return true;
    return before.thread / WARP == now.thread / WARP &&
           ordered_with[now.thread] >> before.thread % WARP & 1 &&
           before.time < ordered_at[now.thread];
}

void check_race(const Access& before, const Access& now, bool in_shared) {
    if (!before.block || ordered(before, now, in_shared)) return;
    if (before.kind == ATOMIC_ACCESS && now.kind == ATOMIC_ACCESS) return;
    const uint3 block = block_indices[before.block - first_block];
    const uint3 thread = threads[before.thread].index;
    fault->other_block[0] = block.x, fault->other_block[1] = block.y, fault->other_block[2] = block.z;
    fault->other_thread[0] = thread.x, fault->other_thread[1] = thread.y;
    fault->other_thread[2] = thread.z;
    fault->other_code = before.code;
    fault->access = now.kind;
    fault->other_access = before.kind;
    fail(RACE, 0);
}

void note(Cell& cell, const Access& now, bool in_shared) {
    check_race(cell.write, now, in_shared);
    if (now.kind != READ) {
        check_race(cell.read, now, in_shared);
        check_race(cell.other_read, now, in_shared);
        check_race(cell.foreign_read, now, in_shared);
        cell.write = now;
        return;
    }
    if (cell.read.block != now.block)
        cell.foreign_read = cell.read;
    else if (cell.read.thread != now.thread)
        cell.other_read = cell.read;
    cell.read = now;
}

// Dynamic shared memory is always as large as can be; a launch asks for less.
void check_dynamic(const char* at, int size) {
    for (int i = 0; const char* const begin = dynamic_shared(i); ++i) {
        if (at < begin || at >= begin + MOST_DYNAMIC || at + size <= begin + launched->shared_bytes)
            continue;
        fault->offset = at - begin;
        fail(DYNAMIC, 0);
    }
}

// What g++'s calls come to. `code` is their return address.
void access(const char* at, int size, int kind, const void* code) {
    if (!current || image.contains(at)) return;  // threadIdx, constants
    const char* const stack = current->stack.memory;
    if (at >= stack && at < stack + STACK_BYTES) return;  // local variables

    const int thread = current->thread;
    const Access now = {block_number,           interval, warp_time[thread / WARP],
                        (u32)image.offset(code), (unsigned short)thread, (unsigned char)kind};
    fault->code = now.code;
    fault->parameter = -1;
    const bool in_shared = at >= shared && at + size <= shared + image.shared_bytes;
    if (launched->profile) {
        const int step = traced() ? profile.trace.add({now.code, (u64)at, {}, kind, in_shared, size,
                                                       thread, 0, -1, 0, 0})
                                  : -1;
        profile.add({now.code, (u32)thread, (u64)at, size, kind, in_shared, step, 0});
    }
    if (in_shared) {
        fault->access = kind;
        check_dynamic(at, size);
        for (int i = 0; i < size; ++i) {
            Cell& cell = shared_cells[at - shared + i];
            if (cell.awaited && cell.write.block == block_number) fail(AWAITED, 0);
            cell.awaited = false;
            if (kind != WRITE && cell.write.block != block_number) fail(UNINITIALISED, 0);
            note(cell, now, true);
        }
        return;
    }
    for (int i = 0; i < launched->array_count; ++i) {
        const Array& array = launched->arrays[i];
        if (at < array.data || at + size > array.data + array.bytes) continue;
        fault->parameter = array.parameter;
        fault->offset = at - array.data;
        for (int byte = 0; byte < size; byte += array.granule)
            note(cells[i][(at - array.data + byte) / array.granule], now, false);
        return;
    }
    name_array(at);
    fault->access = kind;
    fail(OUTSIDE, 0);
}

// An asynchronous copy writes when it begins, so that nobody may still read, and when it is done.
void copy_begins(char* to, const char* from, int bytes, bool inside, const void* code) {
    if (inside)
        access(from, bytes, READ, code);
    else if (launched->profile)
        profile.add({(u32)image.offset(code), (u32)current->thread, 0, 0, READ, false, -1, 0});
    access(to, bytes, WRITE, (const char*)code - 1);  // another place in the same call
    for (int i = 0; i < bytes; ++i) shared_cells[to - shared + i].awaited = true;
}

void copy_ends(char* to, int bytes, const void* code) {
    const int thread = current->thread;
    const Access now = {block_number,           interval, warp_time[thread / WARP],
                        (u32)image.offset(code), (unsigned short)thread, WRITE};
    fault->code = now.code;
    for (int i = 0; i < bytes; ++i) {
        Cell& cell = shared_cells[to - shared + i];
        cell.awaited = false;
        note(cell, now, true);
    }
}

}  // namespace watch
}  // namespace emulator

#include "hooks.h"

#endif
