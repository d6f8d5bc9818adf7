// What went wrong in a launch, as the runtime tells it to Python (class Fault in errors.py), and
// what the runtime is told about a launch (class Launch in library.py).

#pragma once

namespace emulator {

enum Kind {
    NO_FAULT,
    BARRIER_DIVERGED,  // threads of a block wait at different lines
    BARRIER_SKIPPED,   // some wait, others have ended
    WARP_DIVERGED,     // lanes wait for lanes that do not come
    NOT_IN_MASK,       // a lane calls with a mask that does not name it
    LANE_AWAY,         // a shuffle from a lane that takes no part
    OUTSIDE,           // an access outside of all arrays; `parameter` is the nearest one, or -1
    CHANGED,           // memory beside an array was written
    STACK,             // local variables need more than a stack
    DIVISION,          // of an integer by zero
    RACE,              // two accesses that nothing orders, one of them a write
    UNINITIALISED,     // a read of shared memory that nobody wrote in this block
    MISALIGNED,        // a vector at an address that is no multiple of its size
    INDEX,             // beyond the length of an array variable
    DYNAMIC,           // beyond the dynamic shared memory that the launch asks for
    AWAITED,           // shared memory that an asynchronous copy is still to fill
};

enum { READ, WRITE, ATOMIC_ACCESS };

struct Fault {
    int kind;
    unsigned int block[3], thread[3];
    unsigned int other_block[3], other_thread[3];
    int line, other_line;  // in the .cu file; 0 if unknown, or to be found from `code`
    int access, other_access;
    int parameter;         // number of the array, -1 if none
    long long offset;      // of the access in the array, in bytes, or the index
    unsigned long long address;
    unsigned long long code, other_code;  // offsets in the library; 0 if unknown
};

struct Array {
    char* data;
    unsigned long long bytes;
    int granule;    // bytes of an element
    int parameter;  // its number among the arguments, and the arrays of tables behind them
    unsigned long long* slot;  // of its address in a table, which comes later; null if in none
};

struct Launch {
    int instance;
    unsigned int grid[3], block[3];
    unsigned int shared_bytes;  // dynamic
    unsigned long long seed;    // 0: in order
    int guard, profile;
    unsigned long long only;   // number of the block to run alone, from 1; 0: all run
    unsigned long long trace;  // number of the block to record, from 1; 0 for none; with profile
    int slot_count, array_count;
    const unsigned long long* slots;
    const Array* arrays;
};

}  // namespace emulator
