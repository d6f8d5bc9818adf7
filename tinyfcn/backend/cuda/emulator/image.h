// Where this library lies in memory, and its shared memory; what the processor was doing.

#pragma once

#include <link.h>
#include <stddef.h>
#include <ucontext.h>

extern "C" void* __tls_get_addr(size_t*);  // module and offset

namespace emulator {

struct Image {
    size_t base = 0, begin = 0, end = 0;  // addresses
    size_t module = 0, shared_bytes = 0;  // of the thread-local segment: all __shared__ variables

    // Looks for the library in which `inside` lies.
    void find(const void* inside) {
        if (end) return;
        begin = (size_t)inside;
        dl_iterate_phdr(look, this);
    }

    // The segment of the running thread of the system.
    char* shared() const {
        if (!module) return nullptr;
        size_t index[2] = {module, 0};
        return (char*)__tls_get_addr(index);
    }

    bool contains(const void* address) const {
        return (size_t)address >= begin && (size_t)address < end;
    }

    // Of the instruction before a return address, in the library; 0 if it is not of the library.
    size_t offset(const void* code) const { return contains(code) ? (size_t)code - 1 - base : 0; }

private:
    static int look(dl_phdr_info* info, size_t, void* data) {
        Image& image = *(Image*)data;
        size_t begin = ~(size_t)0, end = 0, shared = 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
            const ElfW(Phdr)& part = info->dlpi_phdr[i];
            const size_t at = info->dlpi_addr + part.p_vaddr;
            if (part.p_type == PT_TLS) shared = part.p_memsz;
            if (part.p_type != PT_LOAD) continue;
            if (at < begin) begin = at;
            if (at + part.p_memsz > end) end = at + part.p_memsz;
        }
        if (image.begin < begin || image.begin >= end) return 0;
        image.base = info->dlpi_addr;
        image.begin = begin;
        image.end = end;
        image.module = shared ? info->dlpi_tls_modid : 0;
        image.shared_bytes = shared;
        return 1;
    }
};

#if defined(__x86_64__)
inline void* program_counter(void* context) {
    return (void*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
}
inline bool wrote(void* context) {
    return ((ucontext_t*)context)->uc_mcontext.gregs[REG_ERR] >> 1 & 1;
}
#else
inline void* program_counter(void*) { return nullptr; }
inline bool wrote(void*) { return false; }
#endif

}  // namespace emulator
