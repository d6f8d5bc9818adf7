// The instructions of PTX that kernels/ptx.cuh has for a GPU. Included by dialect.h.

#pragma once

#define EMULATED 1

// ---- asynchronous copies ----

template <int BYTES>
__attribute__((noinline, no_sanitize("thread"))) void copy_async(void* to, const void* from,
                                                                 bool inside) {
    emulator::begin_copy(to, from, BYTES, inside, __builtin_return_address(0));
}
inline void end_copies() { emulator::end_copies(); }
template <int GROUPS>
inline void wait_for_copies() { emulator::wait_for_copies(GROUPS); }

inline long long known(long long v) { return v; }
inline int known(int v) { return v; }

// Macros, so that what is loaded is loaded in the line of the kernel.
#define load_half(from, inside) ((inside) ? *(from) : half())
#define load_vector(from, inside) ((inside) ? *(const uint4*)(from) : uint4())

// ---- rounding of float to fewer bits ----

namespace emulator {

typedef unsigned int u32;

// To the nearest with so many bits less; of two, to the even one. NaN loses no bits that make it one.
inline u32 nearest_even(u32 v, int bits) {
    return (v & 0x7fffffff) > 0x7f800000 ? 0x7fffffffu >> bits
                                         : (v + (1u << (bits - 1)) - 1 + (v >> bits & 1)) >> bits;
}

inline u32 to_bf16(float v) { return nearest_even(bits<u32>(v), 16); }
inline float from_bf16(u32 v) { return bits<float>(v << 16); }

inline u32 to_fp16(float v) {
    const u32 sign = bits<u32>(v) >> 16 & 0x8000, size = bits<u32>(v) & 0x7fffffff;
    if (size > 0x7f800000) return 0x7fff;
    if (size >= 0x477ff000) return sign | 0x7c00;                        // 65520: infinity
    if (size < 0x38800000) return sign | (u32)rintf(fabsf(v) * (1 << 24));  // below 2^-14
    return sign | nearest_even(size - 0x38000000, 13);  // an exponent counts from 15, not from 127
}
inline float from_fp16(u32 v) {
    const u32 size = v & 0x7fff, sign = (v & 0x8000) << 16;
    const u32 finite = size < 0x400 ? bits<u32>(size * 0x1p-24f) : (size << 13) + 0x38000000;
    return bits<float>(sign | finite | (size < 0x7c00 ? 0 : 0x7f800000));
}

}  // namespace emulator

// To 10 bits of digits; of two, away from 0.
inline unsigned int to_tf32(float v) {
    return v != v ? 0x7fffffff : (emulator::bits<unsigned int>(v) + 0x1000) & ~0x1fffu;
}
inline unsigned int to_bf16(float low, float high) {
    return emulator::to_bf16(low) | emulator::to_bf16(high) << 16;
}
inline unsigned int to_fp16(float low, float high) {
    return emulator::to_fp16(low) | emulator::to_fp16(high) << 16;
}

// ---- tensor cores ----

namespace emulator {

// sum += A B by a warp; A is 16 x TERMS, B TERMS x 8. Of a line of eight words, a lane holds two: lane
// 4 l + i words i and i + 4 of row l, of row l + 8, and of column l; and sums of these rows and
// columns 2 i and 2 i + 1. It leaves its words as numbers, so that each becomes one once.
template <int PER_WORD, float (*number)(u32)>
inline void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2], int line) {
    typedef float Numbers __attribute__((vector_size(16)));  // of two words; 0 where they hold fewer
    const u32 words[6] = {a[0], a[2], a[1], a[3], b[0], b[1]};
    Value own;
    Numbers numbers[3] = {};
    static_assert(sizeof numbers <= sizeof own, "what a lane leaves");
    for (int k = 0; k < 6 * PER_WORD; ++k)
        numbers[k / (2 * PER_WORD)][k % (2 * PER_WORD)] =
            number(words[k / PER_WORD] >> k % PER_WORD * (32 / PER_WORD));
    memcpy(&own, numbers, sizeof numbers);
    const Value* all = exchange(0xffffffff, own, line);
    const Value *rows = all + lane() / 4 * 4, *columns = all + lane() % 4 * 8;
    Numbers totals[4] = {};
    for (int k = 0; k < 4; ++k) {
        Numbers row[2], column[2];
        memcpy(row, &rows[k], sizeof row);
        memcpy(&column[0], (const Numbers*)&columns[k] + 2, sizeof column[0]);
        memcpy(&column[1], (const Numbers*)&columns[4 + k] + 2, sizeof column[1]);
        totals[0] += row[0] * column[0];
        totals[1] += row[0] * column[1];
        totals[2] += row[1] * column[0];
        totals[3] += row[1] * column[1];
    }
    for (int i = 0; i < 4; ++i)
        sum[i] += (totals[i][0] + totals[i][1]) + (totals[i][2] + totals[i][3]);
}

inline float from_tf32(u32 v) { return bits<float>(v & ~0x1fffu); }
inline float from_low_bf16(u32 v) { return from_bf16(v & 0xffff); }
inline float from_low_fp16(u32 v) { return from_fp16(v & 0xffff); }

}  // namespace emulator

#define MULTIPLY(name, per_word, number)                                                         \
    inline void name(float (&sum)[4], const unsigned int (&a)[4], const unsigned int (&b)[2], AT) { \
        emulator::multiply<per_word, emulator::number>(sum, a, b, line);                         \
    }

MULTIPLY(mma_tf32, 1, from_tf32)
MULTIPLY(mma_bf16, 2, from_low_bf16)
MULTIPLY(mma_fp16, 2, from_low_fp16)
