// Between the kernels and the runtime that runs them: what a thread may ask for, and the table of
// kernels that a library offers. A library is one .cu file, this header, and runtime.cpp.

#pragma once

#define INSIDE __attribute__((visibility("hidden")))  // reached without the procedure linkage table

struct uint3 {
    unsigned int x, y, z;
};
typedef uint3 dim3;

// Written by the scheduler whenever another thread goes on.
extern INSIDE uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

typedef unsigned long long u64;

// A thread waits for the others of its block, or for those of its warp that are named in a mask.
// The line, of the call in the .cu file, is what tells one barrier from another.
INSIDE void wait_for_block(int line);
INSIDE void wait_for_warp(unsigned int mask, int line);

// Leaves a value for the other lanes named in the mask and waits for theirs; all 32 come back, and
// those of lanes that took part are valid.
struct Value {
    u64 words[6];
};
INSIDE const Value* exchange(unsigned int mask, const Value& value, int line);

// What a lane left in the last exchange; a fault if it took no part.
INSIDE const Value& left_by(int lane, int line);
INSIDE int lane();
INSIDE unsigned int taking_part();

// Copies to shared memory that go on while the thread does, in groups: as late as can be, which is when
// the thread waits for their group. Until then the memory holds poison, and an access to it is a
// fault where accesses are watched. `code` is where the copy was asked for.
INSIDE void begin_copy(void* to, const void* from, int bytes, bool inside, const void* code);
INSIDE void end_copies();
INSIDE void wait_for_copies(int groups);  // until at most so many groups are left

// One kernel as the table lists it. Arguments come in slots of eight bytes.
struct Instance {
    const char* name;       // "relu<float>"
    void (*run)(const u64* slots);
    const char* signature;  // ends in the C++ type: "[with F = void(const float*, float*, ...)]"
};

const unsigned int MOST_DYNAMIC = 48 * 1024;  // bytes; more, a GPU only gives on request

// Tells the checks of an access that they cannot see: atomic operations are plain ones here.
#ifdef TINYFCN_CHECK
#define UNSEEN __attribute__((noinline, no_sanitize("thread")))
INSIDE void atomic_access(const void* at, int size, const void* code);
#else
#define UNSEEN inline
inline void atomic_access(const void*, int, const void*) {}
#endif

}  // namespace emulator

// What a library offers, made by build.py: its kernels, and its `extern __shared__` arrays.
extern "C" INSIDE const emulator::Instance instances[];
extern "C" INSIDE char* dynamic_shared(int number);
