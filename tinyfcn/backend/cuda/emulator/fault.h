// What went wrong in a launch, as the runtime tells it to Python (class Fault in errors.py).

#pragma once

namespace emulator {

enum Kind {
    NO_FAULT,
    BARRIER_DIVERGED,  // threads of a block wait at different lines
    BARRIER_SKIPPED,   // some wait, others have ended
    WARP_DIVERGED,     // lanes wait for lanes that do not come
    NOT_IN_MASK,       // a lane calls with a mask that does not name it
    LANE_AWAY,         // a shuffle from a lane that takes no part
};

struct Fault {
    int kind;
    unsigned int block[3], thread[3];
    unsigned int other_block[3], other_thread[3];
    int line, other_line;  // in the .cu file; 0 if unknown
};

}  // namespace emulator
