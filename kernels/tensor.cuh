// The inner part of the products on tensor cores: those of pipeline.cuh, by instructions that multiply
// matrices of 16 x 8 and 8 x 8 words by a whole warp. Sums are float32; and so are arrays, whose elements
// are rounded on their way from shared memory to registers, but for Fp16, whose arrays are of half.
//
//   Product   digits, exponent (bits)   relative error of rounding   largest   terms of an instruction
//   Tf32      10, 8                     2^-11                        3e38       8
//   Bf16       7, 8                     2^-8                         3e38      16
//   Fp16      10, 5                     2^-11 from 6e-5 on           65504     16
//
// The four warps of a block have 64 x 64 elements of C each.

#pragma once
#include "pipeline.cuh"

constexpr int TENSOR_THREADS = LINES;
constexpr int DOWN = 4, ACROSS = 8;  // results of instructions that a warp has, 16 x 8 each

typedef float Sums[DOWN][ACROSS][4];

// Of a product: what arrays are of, and what of a line makes a word.
struct Tf32 {
    typedef float Stored;
    typedef float Piece;
    __device__ static u32 word(Piece v) { return to_tf32(v); }
    __device__ static void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_tf32(sum, a, b);
    }
};
struct Bf16 {
    typedef float Stored;
    typedef float2 Piece;
    __device__ static u32 word(Piece v) { return to_bf16(v.x, v.y); }
    __device__ static void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_bf16(sum, a, b);
    }
};
struct Fp16 {
    typedef half Stored;
    typedef u32 Piece;
    __device__ static u32 word(Piece v) { return v; }
    __device__ static void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_fp16(sum, a, b);
    }
};
template <typename Product> using stored = typename Product::Stored;

// Row and column in the tile of a lane's first sum of each 16 x 8; the others are one column on, and
// the same two eight rows on.
__device__ inline int tensor_row(int i) {
    return threadIdx.x / 64 * 64 + i * 16 + threadIdx.x % 32 / 4;
}
__device__ inline int tensor_column(int j) {
    return threadIdx.x / 32 % 2 * 64 + j * 8 + threadIdx.x % 4 * 2;
}

// sum = A B over terms from .. to; of rows and columns behind the last of C nothing is multiplied, by
// strips of 16 rows, and by 64 columns.
template <typename Product, typename OperandA, typename OperandB>
__device__ void multiply_tensor(Panels (&panels)[STAGES], OperandA& a, OperandB& b, int from, int to,
                                int rows_left, int columns_left, Sums& sum) {
    typedef typename Product::Piece Piece;
    constexpr int WORDS = LINE / sizeof(Piece);  // of a line; an instruction takes 8
#pragma unroll
    for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int j = 0; j < ACROSS; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
    const int own = threadIdx.x % 32 / 4, piece = threadIdx.x % 4 * (int)sizeof(Piece);
    const int row = tensor_row(0), column = threadIdx.x / 32 % 2 * 64 + own;
    const int strips = column - own < columns_left ? (rows_left - row + own + 15) / 16 : 0;
    // Bytes of a lane's first piece in a panel. Others of the line lie where some bits are flipped.
    const int at = place_of(own, piece / 16) * 16 + piece % 16;
    const int above = known(row * LINE + at), beside = known(column * LINE + at);
    u32 right[ACROSS][2];
    const auto use = [&](const Panel& rows, const Panel& columns, int part) {
        const int i = part % DOWN;
        if (i >= strips) return;  // the same for all of a warp
        const auto word = [=](const Panel& panel, int first, int lines, int w) {
            const int bits = (part / DOWN * 2 + w) * 4 * sizeof(Piece);
            return Product::word(*(const Piece*)(panel[lines] + (first ^ bits)));
        };
        if (i == 0) {
#pragma unroll
            for (int j = 0; j < ACROSS; j++)
#pragma unroll
                for (int w = 0; w < 2; w++) right[j][w] = word(columns, beside, j * 8, w);
        }
        u32 left[4];
#pragma unroll
        for (int w = 0; w < 4; w++) left[w] = word(rows, above, i * 16 + w % 2 * 8, w / 2);
#pragma unroll
        for (int j = 0; j < ACROSS; j++) Product::multiply(sum[i][j], left, right[j]);
    };
    pipeline<DOWN * WORDS / 8>(panels, a, b, from, to, use);
}

template <typename T> struct alignas(2 * sizeof(T)) Pair {
    T left, right;
};
template <typename T> __device__ void store(T* to, float v) { *to = T(v); }
template <typename T> __device__ void store(T* to, float left, float right) {
    *(Pair<T>*)to = {T(left), T(right)};
}

// place(column) is where the first element of a column goes, and those below lie `down` elements from
// each other; with `pairs` two columns lie side by side, aligned, and none is cut by the edge of C.
// A place takes divisions, so each is found once.
template <typename Place>
__device__ void write_tensor(const Sums& sum, int rows, int columns, bool pairs, i64 down,
                             Place place) {
#pragma unroll
    for (int j = 0; j < ACROSS; j++) {
        const int column = tensor_column(j);
        if (column >= columns) continue;
        auto* left = place(column);
        auto* right = column + 1 < columns && !pairs ? place(column + 1) : left + 1;
#pragma unroll
        for (int i = 0; i < 2 * DOWN; i++) {
            const int row = tensor_row(i / 2) + i % 2 * 8;
            if (row >= rows) continue;
            const float* of = &sum[i / 2][j][i % 2 * 2];
            if (pairs)
                store(left + row * down, of[0], of[1]);
            else {
                store(left + row * down, of[0]);
                if (column + 1 < columns) store(right + row * down, of[1]);
            }
        }
    }
}
