// CUDA C++ as far as the kernels use it, for g++. Included before an unmodified .cu file.

#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

// ---- words of the language ----

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __CUDACC__ 1
#define __CUDA_ARCH__ 750

// Blocks run one after the other on one thread of the system, so what is thread-local is the
// block's; and nothing else in a library is, so that its TLS segment is the shared memory. What only a
// lambda uses counts as unused for g++.
#define __shared__ thread_local __attribute__((unused))

// ---- vectors ----

#define VECTOR2(name, T, bytes)                                             \
    struct alignas(bytes) name##2 { T x, y; };                              \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }
#define VECTOR4(name, T, bytes)                                             \
    struct alignas(bytes) name##4 { T x, y, z, w; };                        \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

VECTOR2(float, float, 8)
VECTOR2(double, double, 16)
VECTOR2(int, int, 8)
VECTOR2(uint, unsigned int, 8)
VECTOR2(longlong, long long, 16)
VECTOR4(float, float, 16)
VECTOR4(double, double, 16)
VECTOR4(int, int, 16)
VECTOR4(uint, unsigned int, 16)
VECTOR4(uchar, unsigned char, 4)

// ---- waiting ----

#define AT int line = __builtin_LINE()

inline void __syncthreads(AT) { emulator::wait_for_block(line); }
inline void __syncwarp(unsigned int mask = 0xffffffff, AT) { emulator::wait_for_warp(mask, line); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- between the lanes of a warp ----

namespace emulator {

template <typename T>
inline T shuffle(unsigned int mask, T value, int from, int line) {
    static_assert(sizeof(T) <= sizeof(u64), "shuffles move up to eight bytes");
    Value bits = {};
    memcpy(&bits, &value, sizeof(T));
    exchange(mask, bits, line);
    memcpy(&value, &left_by(from, line), sizeof(T));
    return value;
}

// Lanes lie in segments of `width`; a lane outside the segment means one's own.
inline int segment(int width) { return lane() & ~(width - 1); }

}  // namespace emulator

template <typename T>
inline T __shfl_sync(unsigned int mask, T value, int from, int width = 32, AT) {
    return emulator::shuffle(mask, value, emulator::segment(width) + (from & (width - 1)), line);
}
template <typename T>
inline T __shfl_up_sync(unsigned int mask, T value, unsigned int by, int width = 32, AT) {
    const int from = emulator::lane() - (int)by;
    return emulator::shuffle(mask, value, from < emulator::segment(width) ? emulator::lane() : from,
                             line);
}
template <typename T>
inline T __shfl_down_sync(unsigned int mask, T value, unsigned int by, int width = 32, AT) {
    const int from = emulator::lane() + (int)by;
    return emulator::shuffle(
        mask, value, from >= emulator::segment(width) + width ? emulator::lane() : from, line);
}
template <typename T>
inline T __shfl_xor_sync(unsigned int mask, T value, int with, int width = 32, AT) {
    const int from = emulator::lane() ^ with;
    return emulator::shuffle(
        mask, value, from >= emulator::segment(width) + width ? emulator::lane() : from, line);
}

inline unsigned int __ballot_sync(unsigned int mask, int vote, AT) {
    const emulator::Value* votes = emulator::exchange(mask, {{vote != 0}}, line);
    unsigned int result = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (emulator::taking_part() >> lane & 1 && votes[lane].words[0]) result |= 1u << lane;
    return result;
}
inline int __any_sync(unsigned int mask, int vote, AT) {
    return __ballot_sync(mask, vote, line) != 0;
}
inline int __all_sync(unsigned int mask, int vote, AT) {
    return __ballot_sync(mask, !vote, line) == 0;
}
inline unsigned int __activemask() { return 0xffffffff; }

// ---- atomics: threads give way only where they wait, so plain operations are atomic ----

#define ATOMIC(name, store)                                                            \
    template <typename T>                                                              \
    UNSEEN T name(T* at, T value) {                                                    \
        emulator::atomic_access(at, sizeof(T), __builtin_return_address(0));           \
        const T old = *at;                                                             \
        store;                                                                         \
        return old;                                                                    \
    }

ATOMIC(atomicAdd, *at = old + value)
ATOMIC(atomicSub, *at = old - value)
ATOMIC(atomicMax, if (value > old) *at = value)
ATOMIC(atomicMin, if (value < old) *at = value)
ATOMIC(atomicExch, *at = value)
ATOMIC(atomicOr, *at = old | value)
ATOMIC(atomicAnd, *at = old & value)

template <typename T>
UNSEEN T atomicCAS(T* at, T expected, T value) {
    emulator::atomic_access(at, sizeof(T), __builtin_return_address(0));
    const T old = *at;
    if (old == expected) *at = value;
    return old;
}

// ---- bits ----

namespace emulator {
template <typename To, typename From>
inline To bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "as many bits on both sides");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}
}  // namespace emulator

inline float __int_as_float(int v) { return emulator::bits<float>(v); }
inline int __float_as_int(float v) { return emulator::bits<int>(v); }
inline float __uint_as_float(unsigned int v) { return emulator::bits<float>(v); }
inline unsigned int __float_as_uint(float v) { return emulator::bits<unsigned int>(v); }
inline double __longlong_as_double(long long v) { return emulator::bits<double>(v); }
inline long long __double_as_longlong(double v) { return emulator::bits<long long>(v); }
inline int __popc(unsigned int v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned int)v) : 32; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline unsigned int __umulhi(unsigned int a, unsigned int b) {
    return (unsigned int)((unsigned long long)a * b >> 32);
}
inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// ---- numbers; exp(float) and its like come from math.h ----

inline float rsqrt(float v) { return 1.0f / sqrtf(v); }
inline double rsqrt(double v) { return 1.0 / ::sqrt(v); }
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float v) { return sqrtf(v); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double v) { return ::sqrt(v); }
inline float __expf(float v) { return expf(v); }
inline float __logf(float v) { return logf(v); }
inline float __powf(float v, float p) { return powf(v, p); }
inline float __fdividef(float a, float b) { return a / b; }
inline long long clock64() { return 0; }
inline int clock() { return 0; }

template <typename T>
inline T __ldg(const T* at) { return *at; }

// The same overloads as CUDA's, so that what is ambiguous there is ambiguous here.
#define SMALLER_LARGER(R, A, B)                                    \
    inline R min(A a, B b) { return (R)a < (R)b ? (R)a : (R)b; }   \
    inline R max(A a, B b) { return (R)a > (R)b ? (R)a : (R)b; }
#define SMALLER_LARGER_NUMBER(R, A, B)                             \
    inline R min(A a, B b) { return fmin((R)a, (R)b); }            \
    inline R max(A a, B b) { return fmax((R)a, (R)b); }

SMALLER_LARGER(int, int, int)
SMALLER_LARGER(unsigned int, unsigned int, unsigned int)
SMALLER_LARGER(unsigned int, int, unsigned int)
SMALLER_LARGER(unsigned int, unsigned int, int)
SMALLER_LARGER(long, long, long)
SMALLER_LARGER(unsigned long, unsigned long, unsigned long)
SMALLER_LARGER(long long, long long, long long)
SMALLER_LARGER(unsigned long long, unsigned long long, unsigned long long)
SMALLER_LARGER(unsigned long long, long long, unsigned long long)
SMALLER_LARGER(unsigned long long, unsigned long long, long long)
SMALLER_LARGER_NUMBER(float, float, float)
SMALLER_LARGER_NUMBER(double, double, double)
SMALLER_LARGER_NUMBER(double, float, double)
SMALLER_LARGER_NUMBER(double, double, float)

#include "ptx.h"

// ---- how a library offers its kernels ----

namespace emulator {

template <auto kernel>
struct Entry;

template <typename... A, void (*kernel)(A...)>
struct Entry<kernel> {
    template <typename T>
    static T argument(const u64* slot) {
        T value;
        memcpy(&value, slot, sizeof(T));
        return value;
    }
    template <unsigned long... I>
    struct Places {};
    template <unsigned long n, unsigned long... I>
    struct Count : Count<n - 1, n - 1, I...> {};
    template <unsigned long... I>
    struct Count<0, I...> {
        static void run(const u64* slots) { kernel(argument<A>(slots + I)...); }
    };
    static void run(const u64* slots) { Count<sizeof...(A)>::run(slots); }
};

template <typename F>
inline const char* signature(F*) { return __PRETTY_FUNCTION__; }

#define INSTANCE(...) \
    { #__VA_ARGS__, emulator::Entry<&__VA_ARGS__>::run, emulator::signature(&__VA_ARGS__) }

}  // namespace emulator
