// The functions that g++ calls with -fsanitize=thread, bounds, alignment.

#pragma once

#define HOOK extern "C" __attribute__((visibility("hidden"))) void
#define CODE __builtin_return_address(0)

#define ONE(name, bytes, kind) \
    HOOK name(void* at) { emulator::watch::access((const char*)at, bytes, emulator::kind, CODE); }
#define ACCESS(name, bytes)                             \
    ONE(__tsan_read##name, bytes, READ)                 \
    ONE(__tsan_write##name, bytes, WRITE)               \
    ONE(__tsan_unaligned_read##name, bytes, READ)       \
    ONE(__tsan_unaligned_write##name, bytes, WRITE)     \
    ONE(__tsan_volatile_read##name, bytes, READ)        \
    ONE(__tsan_volatile_write##name, bytes, WRITE)

ACCESS(1, 1)
ACCESS(2, 2)
ACCESS(4, 4)
ACCESS(8, 8)
ACCESS(16, 16)

HOOK __tsan_read_range(void* at, unsigned long size) {
    emulator::watch::access((const char*)at, (int)size, emulator::READ, CODE);
}
HOOK __tsan_write_range(void* at, unsigned long size) {
    emulator::watch::access((const char*)at, (int)size, emulator::WRITE, CODE);
}
HOOK __tsan_init() {}
HOOK __tsan_func_entry(void*) {}
HOOK __tsan_func_exit() {}
HOOK __tsan_vptr_read(void*) {}
HOOK __tsan_vptr_update(void*, void*) {}

namespace emulator {

void atomic_access(const void* at, int size, const void* code) {
    watch::access((const char*)at, size, ATOMIC_ACCESS, code);
}

}  // namespace emulator

HOOK __ubsan_handle_out_of_bounds(void*, unsigned long index) {
    emulator::fault->offset = (long long)index;
    emulator::fault->code = emulator::image.offset(CODE);
    emulator::fail(emulator::INDEX, 0);
}
HOOK __ubsan_handle_type_mismatch_v1(void*, unsigned long address) {
    emulator::name_array((const void*)address);
    emulator::fault->code = emulator::image.offset(CODE);
    emulator::fail(emulator::MISALIGNED, 0);
}

// The rows of the profile since the last call; at most `room`.
extern "C" __attribute__((visibility("default"))) int take_profile(emulator::watch::Row* rows,
                                                                   int room) {
    return emulator::watch::profile.take(rows, room);
}

// The steps of the trace since the last call: see Trace::take.
extern "C" __attribute__((visibility("default"))) int take_trace(emulator::watch::Step* steps,
                                                                 int room) {
    return emulator::watch::profile.trace.take(steps, room, emulator::watch::shared);
}
