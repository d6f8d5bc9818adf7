// Which threads of a block may go on from where they wait, and what is wrong when none may.

#pragma once

namespace emulator {
namespace {

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
            if (one.orders) watch::warp_in_order(first / WARP, waiting);
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
        watch::block_in_order();
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

}  // namespace
}  // namespace emulator
