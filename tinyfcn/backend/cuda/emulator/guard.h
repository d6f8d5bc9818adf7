// Copies of arrays between memory that must not be touched.
//
//   1 MB no access | poison, up to one page | array | poison, < 16 bytes | 1 MB no access
//
// An array begins at a multiple of 16 bytes, as vectors need. A foot on forbidden ground is a signal
// at once; poison that changed is found when the block has ended.

#pragma once

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

namespace emulator {

const unsigned long long FORBIDDEN = 1 << 20;  // bytes
const int POISON = 0xff;                       // a NaN in every float, -1 in integers

struct Guarded {
    static const long long NONE = 1LL << 62;
    const Array* original;
    char* memory;  // all of it
    unsigned long long bytes;
    char *begin, *data, *end;  // of what may be accessed; of the array

    void make(const Array& array) {
        original = &array;
        const unsigned long long page = sysconf(_SC_PAGESIZE);
        const unsigned long long open = (array.bytes + 15) / page * page + page;
        bytes = open + 2 * FORBIDDEN;
        memory = (char*)mmap(nullptr, bytes, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        begin = memory + FORBIDDEN;
        end = begin + open;
        if (mprotect(begin, open, PROT_READ | PROT_WRITE)) abort();
        data = end - (array.bytes + 15) / 16 * 16;
        memset(begin, POISON, data - begin);
        memcpy(data, array.data, array.bytes);
        memset(data + array.bytes, POISON, end - data - array.bytes);
    }

    // The offset in the array of a byte of the poison that was written, or NONE.
    long long changed() const {
        for (const char* at = data - 1; at >= begin; --at)
            if ((unsigned char)*at != POISON) return at - data;
        for (const char* at = data + original->bytes; at < end; ++at)
            if ((unsigned char)*at != POISON) return at - data;
        return NONE;
    }

    bool contains(const void* address) const {
        return (const char*)address >= memory && (const char*)address < memory + bytes;
    }

    void give_back() {
        if (original->bytes) memcpy(original->data, data, original->bytes);
        munmap(memory, bytes);
    }
};

}  // namespace emulator
