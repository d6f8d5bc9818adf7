// Copies that a thread has asked for and that are not done yet: see begin_copy in runtime.h.

#pragma once

namespace emulator {
namespace {

struct Copy {
    char* to;
    const char* from;  // null: zeros
    int bytes, group;
    const void* code;
};

struct Copies {
    Copy* waiting;
    int count, room, group;

    void add(const Copy& copy) {
        if (count == room) waiting = (Copy*)realloc(waiting, (room = 2 * room + 64) * sizeof(Copy));
        waiting[count++] = copy;
    }

    // Those of the groups before `until`.
    void finish(int until) {
        int done = 0;
        for (; done < count && waiting[done].group < until; ++done) {
            const Copy& copy = waiting[done];
            watch::copy_ends(copy.to, copy.bytes, copy.code);
            if (copy.from)
                memcpy(copy.to, copy.from, copy.bytes);
            else
                memset(copy.to, 0, copy.bytes);
        }
        count -= done;
        memmove(waiting, waiting + done, count * sizeof(Copy));
    }
};

Copies copies[MOST_THREADS];

}  // namespace

void begin_copy(void* to, const void* from, int bytes, bool inside, const void* code) {
    if (((u64)to | (u64)from) % bytes) {
        name_array(from);
        fault->code = image.offset(code);
        fail(MISALIGNED, 0);
    }
    watch::copy_begins((char*)to, (const char*)from, bytes, inside, code);
    memset(to, POISON, bytes);
    Copies& own = copies[current->thread];
    own.add({(char*)to, inside ? (const char*)from : nullptr, bytes, own.group, code});
}

void end_copies() { ++copies[current->thread].group; }

void wait_for_copies(int groups) {
    Copies& own = copies[current->thread];
    own.finish(own.group - groups);
}

}  // namespace emulator
