// Records what the threads of one block do, in mode "check" with profile: every access to memory with
// its value, and every wait, in the order in which they happen.

#pragma once

#include <string.h>

#include <vector>

namespace emulator {
namespace watch {

enum { WAIT = ATOMIC_ACCESS + 1 };  // the kind of a step that is no access

struct Step {  // as STEP in library.py
    u64 code, address;        // of shared memory, from where it begins, once it is taken
    unsigned char value[16];  // what was read, or what stands there after a write
    int kind, shared, size, thread;
    int line;           // of a wait
    int request;        // of the warp, numbered within the block; as profile.h counts them
    int cost, least;    // of the request
};

class Trace {
public:
    std::vector<Step> steps;

    // A call comes before its access: the value is there when the next one comes.
    int add(const Step& step) {
        finish();
        steps.push_back(step);
        return (int)steps.size() - 1;
    }

    void finish() {
        for (; known < steps.size(); ++known) {
            Step& step = steps[known];
            if (step.kind != WAIT) memcpy(step.value, (const void*)step.address, step.size);
        }
    }

    // The finished ones, at most `room`; how many there are, if room is 0.
    int take(Step* out, int room, const char* shared) {
        if (!room) return (int)known;
        int count = 0;
        for (; count < room && (size_t)count < known; ++count) {
            out[count] = steps[count];
            if (out[count].shared) out[count].address -= (u64)shared;
        }
        forget();
        return count;
    }

    void forget() {
        steps.clear();
        known = 0;
    }

private:
    size_t known = 0;
};

}  // namespace watch
}  // namespace emulator
