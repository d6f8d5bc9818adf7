// Runs one kernel: blocks one after the other, the threads of a block in turns.
//
// A thread of a block is a fiber that gives way only where it waits. Workers, each with a stack, take
// up threads one after the other; a worker whose thread waits is put aside with it and another takes
// up the rest. So a kernel that never waits runs all its threads on one stack, and in a kernel that
// waits every thread has its own. When no thread can go on, the scheduler lets those go whose barrier
// is complete; if there are none, the kernel is at fault.
//
// A fault, also one that the processor or the checks of watch.h report in the middle of a thread, is
// written down and ends the launch: the scheduler goes on and the thread never does.

#include "runtime.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "guard.h"
#include "image.h"
#include "stack.h"

uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {
namespace {

const int MOST_THREADS = 1024, WARP = 32, MOST_ARGUMENTS = 64;

enum State { NEW, READY, AT_BLOCK, AT_WARP, DONE };

struct Worker {
    Stack stack;
    int thread;  // that it has taken up, -1 for none
};

struct Thread {
    State state;
    uint3 index;
    Worker* worker;
    unsigned int mask;  // of the lanes it waits for
    bool orders;        // whether memory is in order after it
    int line;           // where it waits
    Value left;         // for the other lanes
};

struct Warp {
    Value values[WARP];
    unsigned int took_part[WARP];  // for each lane, who was in its last exchange
};

Thread threads[MOST_THREADS];
Warp warps[MOST_THREADS / WARP];
Worker workers[MOST_THREADS];
Worker* idle[MOST_THREADS];
int worker_count, idle_count, thread_count;
int order[MOST_THREADS], begun;  // order[begun:] are the threads that no worker has taken up

Stack scheduler;
Worker* current;
const Instance* kernel;
u64 slots[MOST_ARGUMENTS];
const Launch* launched;
Fault* fault;
Guarded* guarded;  // of each array
u64 random_state;  // 0: in order
Image image;
bool waited;  // a thread of this block did

u64 random_number() {  // SplitMix64
    u64 z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

template <typename T>
void shuffle(T* items, u64 count) {
    if (!random_state) return;
    for (u64 i = count; i > 1; --i) {
        const u64 j = random_number() % i;
        const T item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}

// What a worker does, for ever.
void work() {
    for (;;) {
        while (begun < thread_count) {
            Worker* const self = current;
            self->thread = order[begun++];
            Thread& thread = threads[self->thread];
            thread.worker = self;
            threadIdx = thread.index;
            kernel->run(slots);
            threads[self->thread].state = DONE;
            self->thread = -1;
        }
        idle[idle_count++] = current;
        switch_stack(current->stack, scheduler);
    }
}

void resume(Worker* worker) {
    current = worker;
    if (worker->thread >= 0) threadIdx = threads[worker->thread].index;
    switch_stack(scheduler, worker->stack);
}

void wait(State state, unsigned int mask, bool orders, int line) {
    Thread& thread = threads[current->thread];
    thread.state = state;
    thread.mask = mask;
    thread.orders = orders;
    thread.line = line;
    waited = true;
    switch_stack(current->stack, scheduler);
}

// The fault of the running thread, or of thread `number`; ends the launch when the scheduler sees it.
void blame(int kind, int number, int line) {
    fault->kind = kind;
    fault->block[0] = blockIdx.x, fault->block[1] = blockIdx.y, fault->block[2] = blockIdx.z;
    const uint3 index = threads[number].index;
    fault->thread[0] = index.x, fault->thread[1] = index.y, fault->thread[2] = index.z;
    fault->line = line;
}

[[noreturn]] void fail(int kind, int line) {
    blame(kind, current->thread, line);
    switch_stack(current->stack, scheduler);
    abort();
}

// The array that an address belongs to or is nearest to goes into the fault, if one is near.
void name_array(const void* address) {
    fault->address = (u64)address;
    fault->parameter = -1;
    u64 nearest = FORBIDDEN;
    for (int i = 0; i < launched->array_count; ++i) {
        const Array& array = launched->arrays[i];
        const u64 begin = (u64)(launched->guard ? guarded[i].data : array.data);
        const u64 at = (u64)address, end = begin + array.bytes;
        const u64 distance = at < begin ? begin - at : at < end ? 0 : at - end + 1;
        if (distance >= nearest) continue;
        nearest = distance;
        fault->parameter = array.parameter;
        fault->offset = (long long)(at - begin);
    }
}

}  // namespace
}  // namespace emulator

// These work on what is declared above.
#include "watch.h"
#include "barriers.h"
#include "copies.h"
#include "signals.h"

namespace emulator {
namespace {

Worker* idle_worker() {
    if (!idle_count) {
        Worker* const worker = &workers[worker_count++];
        new_stack(worker->stack, work);
        worker->thread = -1;
        idle[idle_count++] = worker;
    }
    return idle[--idle_count];
}

// After a fault workers hold threads that will never go on: all begin anew.
void forget_workers() {
    idle_count = 0;
    for (int i = 0; i < worker_count; ++i) {
        clear_stack(workers[i].stack, work);
        workers[i].thread = -1;
        idle[idle_count++] = &workers[i];
    }
}

bool run_block() {
    for (int i = 0; i < thread_count; ++i) {
        threads[i].state = NEW;
        copies[i].count = copies[i].group = 0;
        order[i] = i;
    }
    shuffle(order, thread_count);
    begun = 0;
    // A kernel that never waits has no use for shared memory.
    if (waited) memset(image.shared(), POISON, image.shared_bytes);
    waited = false;
    watch::block_begins();
    for (;;) {
        while (begun < thread_count) {
            resume(idle_worker());
            if (fault->kind) return false;
        }
        if (!release_warps() && !release_block()) return !fault->kind;
        shuffle(order, thread_count);
        for (int i = 0; i < thread_count; ++i) {
            Thread& thread = threads[order[i]];
            if (thread.state != READY) continue;
            resume(thread.worker);
            if (fault->kind) return false;
        }
    }
}

}  // namespace

int lane() { return current->thread % WARP; }

void wait_for_block(int line) {
    watch::waits(line);
    wait(AT_BLOCK, 0, true, line);
}

void wait_for_lanes(unsigned int mask, bool orders, int line) {
    if (!(mask >> lane() & 1)) fail(NOT_IN_MASK, line);
    watch::waits(line);
    wait(AT_WARP, mask, orders, line);
}

void wait_for_warp(unsigned int mask, int line) { wait_for_lanes(mask, true, line); }

const Value* exchange(unsigned int mask, const Value& value, int line) {
    threads[current->thread].left = value;
    wait_for_lanes(mask, false, line);  // CUDA promises no order of memory here
    return warps[current->thread / WARP].values;
}

unsigned int taking_part() { return warps[current->thread / WARP].took_part[lane()]; }

const Value& left_by(int from, int line) {
    if (!(taking_part() >> (from & 31) & 1)) fail(LANE_AWAY, line);
    return warps[current->thread / WARP].values[from & 31];
}

namespace {

void guard_arrays() {
    guarded = (Guarded*)malloc((launched->array_count + 1) * sizeof(Guarded));
    for (int i = 0; i < launched->array_count; ++i) {
        const Array& array = launched->arrays[i];
        // The same array twice is one array, as in a kernel that works in place.
        int first = 0;
        while (launched->arrays[first].data != array.data) ++first;
        if (first < i)
            guarded[i] = guarded[first];
        else
            guarded[i].make(array);
        *(array.slot ? array.slot : &slots[array.parameter]) = (u64)guarded[i].data;
    }
}

bool guards_hold() {
    for (int i = 0; i < launched->array_count; ++i) {
        const long long offset = guarded[i].changed();
        if (offset == Guarded::NONE) continue;
        blame(CHANGED, 0, 0);
        fault->parameter = launched->arrays[i].parameter;
        fault->offset = offset;
        return false;
    }
    return true;
}

void give_back_arrays() {
    for (int i = launched->array_count; i-- > 0;) {
        int first = 0;
        while (launched->arrays[first].data != launched->arrays[i].data) ++first;
        if (first == i) guarded[i].give_back();
    }
    ::free(guarded);
}

}  // namespace
}  // namespace emulator

using namespace emulator;

#define OFFERED extern "C" __attribute__((visibility("default")))

OFFERED const Instance* kernels() { return instances; }

// Runs a kernel; 0, or the kind of the fault, of which more stands in *report.
OFFERED int launch(const Launch* what, Fault* report) {
    launched = what;
    kernel = &instances[what->instance];
    fault = report;
    random_state = what->seed;
    const unsigned int *grid = what->grid, *block = what->block;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    thread_count = (int)(block[0] * block[1] * block[2]);
    for (unsigned int i = 0; i < (unsigned int)thread_count; ++i)
        threads[i].index = {i % block[0], i / block[0] % block[1], i / (block[0] * block[1])};
    if (what->slot_count > MOST_ARGUMENTS) abort();
    memcpy(slots, what->slots, what->slot_count * sizeof(u64));
    image.find(instances);
    waited = true;  // shared memory is what another launch left
    if (what->guard) guard_arrays();
    watch::launch_begins();

    const u64 blocks = (u64)grid[0] * grid[1] * grid[2];
    u64* turns = nullptr;
    if (what->seed && !what->only) {
        turns = (u64*)malloc(blocks * sizeof(u64));
        for (u64 i = 0; i < blocks; ++i) turns[i] = i;
        shuffle(turns, blocks);
    }
    {
        Signals signals;
        const u64 first = what->only ? what->only - 1 : 0;
        for (u64 i = first; i < (what->only ? what->only : blocks); ++i) {
            const u64 number = turns ? turns[i] : i;
            blockIdx = {(unsigned int)(number % grid[0]),
                        (unsigned int)(number / grid[0] % grid[1]),
                        (unsigned int)(number / grid[0] / grid[1])};
            const bool right = run_block();
            current = nullptr;
            if (!right) {
                forget_workers();
                break;
            }
            watch::block_ends();
            if (what->guard && !guards_hold()) break;
        }
    }
    free(turns);
    watch::launch_ends();
    if (what->guard) give_back_arrays();
    return fault->kind;
}
