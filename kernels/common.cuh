// What all kernels share. Included first by every .cu file; needs no other header.
//
// Conventions
//   T            float or double, the type of the arrays; sums of T are taken in T
//   Stored       the same or half, the type of activations; what is computed with them, and what is
//                no activation, is wide<Stored>: T, or float for half
//   N C H W      images, channels, rows, columns of an input; OC OH OW of an output
//   arrays       C-contiguous: (N, C, H, W) has pixel (n, c, h, w) at ((n * C + c) * H + h) * W + w
//   i64          every index that counts elements of an array: there may be more than 2^31. NVIDIA's
//                compiler divides two of them in 32 bits, a fifth of the work, where both fit
//   parameters   arrays that are read, arrays that are written, numbers; strides and the like of an
//                array directly behind it
//   gather form  a thread owns an element of the result and collects what belongs to it, so there
//                are no atomics and results have the same bits at every run

#pragma once

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;

// 16 bits: of float16, as activations may be stored. A kernel reads it as the float it stands for, and
// half(v), which it stores, is v rounded to the nearest, ties to even, or infinity.
struct half {
    unsigned short bits;

    half() = default;
#ifdef EMULATED
    explicit half(float v) : bits(emulator::to_fp16(v)) {}
    operator float() const { return emulator::from_fp16(bits); }
#else
    __device__ explicit half(float v) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v)); }
    __device__ operator float() const {
        float v;
        asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
        return v;
    }
#endif
};

template <typename T> struct Wide { typedef T type; };
template <> struct Wide<half> { typedef float type; };
template <typename Stored> using wide = typename Wide<Stored>::type;

// One thread for each element, in a loop: right for any number of blocks, so that a launcher may cap
// their number. Neighbouring threads take neighbouring elements. `count` is a kernel's last parameter.
#define FOR_EACH(i, count)                                                        \
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)(count);    \
         i += (i64)gridDim.x * blockDim.x)

// So many elements side by side, which one load or store moves where they lie at a multiple of their
// size, or of 128 bits.
template <typename T, int COUNT> struct alignas(COUNT * sizeof(T) < 16 ? COUNT * sizeof(T) : 16) Pack {
    static constexpr int SIZE = COUNT;
    T at[COUNT];
    static __device__ bool fits(const T* data) { return (u64)data % alignof(Pack) == 0; }
};

// 128 bits of an array.
template <typename T> using Vector = Pack<T, 16 / sizeof(T)>;
template <typename T> __device__ bool aligned(const T* data) { return Vector<T>::fits(data); }

// Elements by 128 bits, where `vectors`: work(i, v) has those from i on to do, as many as v.at holds:
// v is a Vector, or, behind the last whole one, a Pack of one. This thread is one of `threads`, and
// an I counts what they go over.
template <typename T, typename I, typename Work>
__device__ void by_vectors(I thread, I threads, I count, bool vectors, Work work) {
    const I whole = vectors ? count / Vector<T>::SIZE : 0;
    for (I i = thread; i < whole; i += threads) work(i * Vector<T>::SIZE, Vector<T>());
    for (I i = whole * Vector<T>::SIZE + thread; i < count; i += threads) work(i, Pack<T, 1>());
}

// The same by all threads of the grid. 64 bits cost a loop two instructions more: no copy of it for 32.
template <typename T, typename Work>
__device__ void for_each_vector(i64 count, bool vectors, Work work) {
    by_vectors<T, i64>((i64)blockIdx.x * blockDim.x + threadIdx.x, (i64)gridDim.x * blockDim.x, count,
                       vectors, work);
}

template <typename T> struct Limits;
template <> struct Limits<float> {
    static __device__ float infinity() { return __int_as_float(0x7f800000); }
    static __device__ float nan() { return __int_as_float(0x7fc00000); }
};
template <> struct Limits<double> {
    static __device__ double infinity() { return __longlong_as_double(0x7ff0000000000000LL); }
    static __device__ double nan() { return __longlong_as_double(0x7ff8000000000000LL); }
};

// The channel of element i of (N, C, pixels).
__device__ inline int channel_of(i64 i, int channels, i64 pixels) {
    return (int)(i / pixels % channels);
}
