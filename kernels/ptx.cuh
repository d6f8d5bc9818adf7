// Instructions of a GPU that CUDA C++ has no word for, in its assembly language, PTX. They need sm_80:
// for sm_75 copies are done at once, and tensor cores are not there. The emulator has functions of
// these names of its own.

#pragma once
#include "common.cuh"

#ifndef EMULATED

// Begins to copy BYTES, 4 or 16, to shared memory, past registers; zeros if not `inside`, whatever
// is at `from` then. Both addresses are multiples of BYTES. The copies up to end_copies() are a group.
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

// A number that the compiler takes as it is, and does not compute again where it is needed.
__device__ inline i64 known(i64 v) {
    asm("" : "+l"(v));
    return v;
}
__device__ inline int known(int v) {
    asm("" : "+r"(v));
    return v;
}

// Begin to load, where that is `inside`, else give 0; the compiler leaves it before what comes next.
__device__ inline half load_half(const half* from, bool inside) {
    half v;
    asm volatile("{ "
                 ".reg .pred p; "
                 "setp.ne.s32 p, %2, 0; "
                 "mov.b16 %0, 0; "
                 "@p ld.global.nc.u16 %0, [%1]; "
                 "}"
                 : "=h"(v.bits) : "l"(from), "r"((int)inside) : "memory");
    return v;
}

__device__ inline uint4 load_vector(const void* from, bool inside) {
    uint4 v;
    asm volatile("{ .reg .pred p; setp.ne.s32 p, %5, 0; "
                 "mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0; "
                 "@p ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4]; }"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from), "r"((int)inside)
                 : "memory");
    return v;
}

// Operands of tensor cores: a word of 32 bits is a float with 10 bits of digits, or two of 16 bits,
// the earlier one low.
__device__ inline u32 to_tf32(float v) {
    u32 word = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(v));
#endif
    return word;
}
__device__ inline u32 to_bf16(float low, float high) {
    u32 word = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#endif
    return word;
}
__device__ inline u32 to_fp16(float low, float high) {
    u32 word = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#endif
    return word;
}

// sum += A B by a warp: A has 16 rows, B 8 columns, and a row or column has 8 words. Lane 4 l + i holds
// words i and i + 4 of rows l and l + 8, {row l, row l + 8, and again}, and of column l; and the sums
// of these rows, and columns 2 i and 2 i + 1.
#if __CUDA_ARCH__ >= 800
#define MMA(name, type)                                                                          \
    __device__ inline void name(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {         \
        asm("mma.sync.aligned." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "       \
            "{%0, %1, %2, %3};"                                                                  \
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                             \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                 \
    }
#else
#define MMA(name, type)                                                                          \
    __device__ inline void name(float (&)[4], const u32 (&)[4], const u32 (&)[2]) { __trap(); }
#endif

MMA(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32")
MMA(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16")
MMA(mma_fp16, "m16n8k16.row.col.f32.f16.f16")

#endif
