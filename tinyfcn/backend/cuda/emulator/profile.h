// Counts what a warp's accesses cost on a GPU, line by line, in mode "check" with profile.
//
// A request is what the lanes of a warp do at one place in the code at their n-th visit there.
// Global memory is moved in sectors of 32 bytes: a request costs as many as it touches. Shared memory
// has 32 banks of 4 bytes: a request takes as many turns as the fullest bank has different words
// (accesses of 8 and 16 bytes go in halves and quarters of a warp).

#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "trace.h"

namespace emulator {
namespace watch {

struct Visit {
    unsigned int code, thread;
    u64 address;
    int size, kind;       // size 0: a visit without an access
    bool shared;
    int step;             // of the trace, -1 if it is not recorded
    unsigned int number;  // of the thread's visits to this place in this block
};

struct Row {  // as ROW in library.py
    u64 code;
    int kind, shared;
    u64 requests, accesses;
    u64 cost, least;  // sectors or turns, and what they would be at best
};

class Profile {
public:
    Trace trace;

    // What a launch left that ended in a fault.
    void forget() {
        visits.clear();
        trace.forget();
    }

    void add(const Visit& visit) { visits.push_back(visit); }

    void add_block() {
        std::stable_sort(visits.begin(), visits.end(), [](const Visit& a, const Visit& b) {
            return a.code != b.code ? a.code < b.code : a.thread < b.thread;
        });
        for (size_t i = 0; i < visits.size(); ++i) {
            const bool again = i && visits[i].code == visits[i - 1].code &&
                               visits[i].thread == visits[i - 1].thread;
            visits[i].number = again ? visits[i - 1].number + 1 : 0;
        }
        std::stable_sort(visits.begin(), visits.end(), [](const Visit& a, const Visit& b) {
            if (a.code != b.code) return a.code < b.code;
            if (a.thread / 32 != b.thread / 32) return a.thread / 32 < b.thread / 32;
            return a.number < b.number;
        });
        for (size_t from = 0, to; from < visits.size(); from = to) {
            const Visit& first = visits[from];
            for (to = from + 1; to < visits.size(); ++to) {
                const Visit& next = visits[to];
                if (next.code != first.code || next.thread / 32 != first.thread / 32 ||
                    next.number != first.number)
                    break;
            }
            add_request(&visits[from], &visits[to - 1] + 1);
        }
        visits.clear();
        requests = 0;
    }

    int take(Row* out, int room) {
        int count = 0;
        for (const auto& entry : rows)
            if (count < room) out[count++] = entry.second;
        rows.clear();
        return count;
    }

private:
    std::vector<Visit> visits;
    std::map<unsigned int, Row> rows;
    int requests = 0;  // of the block

    void add_request(Visit* begin, Visit* end) {
        end = std::remove_if(begin, end, [](const Visit& visit) { return !visit.size; });
        if (begin == end) return;
        Row& row = rows[begin->code];
        row.code = begin->code;
        row.kind = begin->kind;
        row.shared = begin->shared;
        ++row.requests;
        row.accesses += end - begin;
        const u64 unit = begin->shared ? 4 : 32;
        std::vector<u64> units;
        int turns = 0;
        u64 least = 0;
        const unsigned int lanes = begin->size <= 4 ? 32 : begin->size <= 8 ? 16 : 8;
        for (const Visit* i = begin; i < end;) {  // the part of the warp that goes at once
            const unsigned int part = i->thread / lanes;
            if (begin->shared) units.clear();
            for (; i < end && (!begin->shared || i->thread / lanes == part); ++i)
                for (u64 at = i->address / unit; at <= (i->address + i->size - 1) / unit; ++at)
                    units.push_back(at);
            std::sort(units.begin(), units.end());
            units.erase(std::unique(units.begin(), units.end()), units.end());
            if (!begin->shared) continue;
            int words[32] = {};
            for (const u64 at : units) ++words[at % 32];
            turns += *std::max_element(words, words + 32);
            ++least;
        }
        const int cost = begin->shared ? turns : (int)units.size();
        if (!begin->shared) least = ((end - begin) * begin->size + 31) / 32;
        row.cost += cost;
        row.least += least;
        ++requests;
        for (const Visit* i = begin; i < end; ++i) {
            if (i->step < 0) continue;
            Step& step = trace.steps[i->step];
            step.request = requests - 1, step.cost = cost, step.least = (int)least;
        }
    }
};

}  // namespace watch
}  // namespace emulator
