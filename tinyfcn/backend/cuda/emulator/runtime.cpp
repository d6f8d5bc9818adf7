// Runs one kernel: blocks one after the other, the threads of a block in turns.
//
// A thread of a block is a fiber that gives way only where it waits. Workers, each with a stack, take
// up threads one after the other; a worker whose thread waits is put aside with it and another takes
// up the rest. So a kernel that never waits runs all its threads on one stack, and in a kernel that
// waits every thread has its own. When no thread can go on, the scheduler lets those go whose barrier
// is complete; if there are none, the kernel is at fault.

#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fault.h"
#include "stack.h"

uint3 threadIdx, blockIdx, blockDim, gridDim;

extern "C" const emulator::Instance instances[];

namespace emulator {
namespace {

const int MOST_THREADS = 1024, WARP = 32;

enum State { NEW, READY, AT_BLOCK, AT_WARP, DONE };

struct Worker {
    Stack stack;
    int thread;  // that it has taken up, −1 for none
};

struct Thread {
    State state;
    uint3 index;
    Worker* worker;
    unsigned int mask;  // of the lanes it waits for
    int line;           // where it waits
    u64 left;           // for the other lanes
};

struct Warp {
    u64 values[WARP];
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
const u64* slots;
Fault* fault;
u64 random_state;  // 0: in order

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

void wait(State state, unsigned int mask, int line) {
    Thread& thread = threads[current->thread];
    thread.state = state;
    thread.mask = mask;
    thread.line = line;
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

void let_go(int number) { threads[number].state = READY; }

// Lets lanes go that wait with one mask at one line, where every lane of the mask that still runs
// waits too.
bool release_warps() {
    bool released = false;
    for (int first = 0; first < thread_count; first += WARP) {
        const int lanes = thread_count - first < WARP ? thread_count - first : WARP;
        for (int lane = 0; lane < lanes; ++lane) {
            const Thread& one = threads[first + lane];
            if (one.state != AT_WARP) continue;
            unsigned int waiting = 0;
            bool complete = true;
            for (int other = 0; other < lanes; ++other) {
                const Thread& two = threads[first + other];
                if (!(one.mask >> other & 1) || two.state == DONE) continue;
                if (two.state == AT_WARP && two.mask == one.mask && two.line == one.line)
                    waiting |= 1u << other;
                else
                    complete = false;
            }
            if (!complete) continue;
            Warp& warp = warps[first / WARP];
            for (int other = 0; other < lanes; ++other) {
                if (!(waiting >> other & 1)) continue;
                warp.values[other] = threads[first + other].left;
                warp.took_part[other] = waiting;
                let_go(first + other);
            }
            released = true;
        }
    }
    return released;
}

// Lets the whole block go if it waits at one line; else says who is at fault.
bool release_block() {
    int at = -1, elsewhere = -1, done = -1, in_warp = -1;
    for (int i = 0; i < thread_count; ++i) {
        const Thread& thread = threads[i];
        if (thread.state == DONE) {
            if (done < 0) done = i;
        } else if (thread.state == AT_WARP) {
            if (in_warp < 0) in_warp = i;
        } else if (at < 0) {
            at = i;
        } else if (thread.line != threads[at].line && elsewhere < 0) {
            elsewhere = i;
        }
    }
    if (at < 0 && in_warp < 0) return false;  // all done
    const int other = in_warp >= 0 ? (at >= 0 ? at : done) : elsewhere >= 0 ? elsewhere : done;
    if (in_warp < 0 && other < 0) {
        for (int i = 0; i < thread_count; ++i) let_go(i);
        return true;
    }
    const int waiting = in_warp >= 0 ? in_warp : at;
    blame(in_warp >= 0 ? WARP_DIVERGED : elsewhere >= 0 ? BARRIER_DIVERGED : BARRIER_SKIPPED, waiting,
          threads[waiting].line);
    if (other >= 0) {
        const uint3 index = threads[other].index;
        fault->other_thread[0] = index.x, fault->other_thread[1] = index.y;
        fault->other_thread[2] = index.z;
        fault->other_line = threads[other].state == DONE ? 0 : threads[other].line;
    }
    return false;
}

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
        order[i] = i;
    }
    shuffle(order, thread_count);
    begun = 0;
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

void wait_for_block(int line) { wait(AT_BLOCK, 0, line); }

void wait_for_warp(unsigned int mask, int line) {
    if (!(mask >> lane() & 1)) fail(NOT_IN_MASK, line);
    wait(AT_WARP, mask, line);
}

const u64* exchange(unsigned int mask, u64 value, int line) {
    threads[current->thread].left = value;
    wait_for_warp(mask, line);
    return warps[current->thread / WARP].values;
}

unsigned int taking_part() { return warps[current->thread / WARP].took_part[lane()]; }

u64 left_by(int from, int line) {
    if (!(taking_part() >> (from & 31) & 1)) fail(LANE_AWAY, line);
    return warps[current->thread / WARP].values[from & 31];
}

}  // namespace emulator

using namespace emulator;

extern "C" __attribute__((visibility("default"))) const Instance* kernels() { return instances; }

// Runs instance number `which`; 0, or the kind of the fault, of which more stands in *report.
extern "C" __attribute__((visibility("default"))) int launch(int which, const unsigned int* grid,
                                                             const unsigned int* block,
                                                             const u64* arguments, u64 seed,
                                                             Fault* report) {
    kernel = &instances[which];
    slots = arguments;
    fault = report;
    random_state = seed;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    thread_count = (int)(block[0] * block[1] * block[2]);
    for (int i = 0; i < thread_count; ++i)
        threads[i].index = {i % block[0], i / block[0] % block[1], i / (block[0] * block[1])};

    const u64 blocks = (u64)grid[0] * grid[1] * grid[2];
    u64* turns = nullptr;
    if (seed) {
        turns = (u64*)malloc(blocks * sizeof(u64));
        for (u64 i = 0; i < blocks; ++i) turns[i] = i;
        shuffle(turns, blocks);
    }
    for (u64 i = 0; i < blocks; ++i) {
        const u64 number = turns ? turns[i] : i;
        blockIdx = {(unsigned int)(number % grid[0]), (unsigned int)(number / grid[0] % grid[1]),
                    (unsigned int)(number / grid[0] / grid[1])};
        if (!run_block()) {
            forget_workers();
            break;
        }
    }
    free(turns);
    return fault->kind;
}
