// Instructions of a GPU that CUDA C++ has no word for, in its assembly language, PTX. They need sm_80;
// for sm_75 copies are done at once. The emulator has functions of these names of its own.

#pragma once
#include "common.cuh"

#ifndef EMULATED

// Begins to copy BYTES, 4 or 16, to shared memory, past registers; zeros if not `inside`. Both
// addresses are multiples of BYTES. The copies up to end_copies() are a group.
template <int BYTES> __device__ void copy_async(void* to, const void* from, bool inside) {
#if __CUDA_ARCH__ >= 800
    const u32 at = (u32)__cvta_generic_to_shared(to);
    const int size = inside ? BYTES : 0;
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :: "r"(at), "l"(from), "r"(size) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                     :: "r"(at), "l"(from), "n"(BYTES), "r"(size) : "memory");
#else
    for (int i = 0; i < BYTES / 4; i++) ((u32*)to)[i] = inside ? ((const u32*)from)[i] : 0;
#endif
}

__device__ inline void end_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most so many of the latest groups are under way. What this thread copied is there
// then; what others copied, behind the next barrier.
template <int GROUPS> __device__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" :: "n"(GROUPS) : "memory");
#endif
}

#endif
