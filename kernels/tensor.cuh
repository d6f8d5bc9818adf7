// The inner part of the products on tensor cores: those of pipeline.cuh, by instructions that multiply
// matrices of 16 x 8 and 8 x 8 words by a whole warp. Arrays and sums are float32; operands are rounded
// on their way from shared memory to registers.
//
//   Product   digits, exponent (bits)   relative error of rounding   largest   terms of an instruction
//   Tf32      10, 8                     2^-11                        3e38       8
//   Bf16       7, 8                     2^-8                         3e38      16
//   Fp16      10, 5                     2^-11 from 6e-5 on           65504     16
//
// The four warps of a block have 64 x 64 elements of C each. A lane reads vectors: four terms of a line,
// of a row or column, at once. In an instruction these are words i and i + 4 of the line: in which
// order terms are added makes no difference, as long as A and B agree.

#pragma once
#include "pipeline.cuh"

constexpr int TENSOR_THREADS = LINES;
constexpr int DOWN = 4, ACROSS = 8;  // results of instructions that a warp has, 16 x 8 each

typedef float Sums[DOWN][ACROSS][4];
typedef Vector<float> Terms;

struct Tf32 {
    static constexpr int WORDS = 4;  // of four terms
    __device__ static void round(Terms v, u32 (&to)[WORDS]) {
#pragma unroll
        for (int e = 0; e < 4; e++) to[e] = to_tf32(v.at[e]);
    }
    __device__ static void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_tf32(sum, a, b);
    }
};
struct Bf16 {
    static constexpr int WORDS = 2;
    __device__ static void round(Terms v, u32 (&to)[WORDS]) {
        to[0] = to_bf16(v.at[0], v.at[1]);
        to[1] = to_bf16(v.at[2], v.at[3]);
    }
    __device__ static void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_bf16(sum, a, b);
    }
};
struct Fp16 {
    static constexpr int WORDS = 2;
    __device__ static void round(Terms v, u32 (&to)[WORDS]) {
        to[0] = to_fp16(v.at[0], v.at[1]);
        to[1] = to_fp16(v.at[2], v.at[3]);
    }
    __device__ static void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        mma_fp16(sum, a, b);
    }
};

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
    constexpr int WORDS = Product::WORDS;
#pragma unroll
    for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int j = 0; j < ACROSS; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
    const int own = threadIdx.x % 32 / 4, v = place_of(own, threadIdx.x % 4);
    const int row = tensor_row(0), column = threadIdx.x / 32 % 2 * 64 + own;
    const int strips = column - own < columns_left ? (rows_left - row + own + 15) / 16 : 0;
    pipeline(panels, a, b, from, to, [&](const Panel& rows, const Panel& columns) {
        if (strips <= 0) return;
        u32 right[ACROSS][WORDS];
#pragma unroll
        for (int j = 0; j < ACROSS; j++) Product::round(columns[column + j * 8][v], right[j]);
#pragma unroll
        for (int i = 0; i < DOWN; i++) {
            if (i >= strips) break;  // the same for all of a warp
            u32 upper[WORDS], lower[WORDS];
            Product::round(rows[row + i * 16][v], upper);
            Product::round(rows[row + i * 16 + 8][v], lower);
#pragma unroll
            for (int w = 0; w < WORDS; w += 2) {
                const u32 left[4] = {upper[w], lower[w], upper[w + 1], lower[w + 1]};
#pragma unroll
                for (int j = 0; j < ACROSS; j++) {
                    const u32 other[2] = {right[j][w], right[j][w + 1]};
                    Product::multiply(sum[i][j], left, other);
                }
            }
        }
    });
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
        float* left = place(column);
        float* right = column + 1 < columns && !pairs ? place(column + 1) : left + 1;
#pragma unroll
        for (int i = 0; i < 2 * DOWN; i++) {
            const int row = tensor_row(i / 2) + i % 2 * 8;
            if (row >= rows) continue;
            const float* of = &sum[i / 2][j][i % 2 * 2];
            if (pairs)
                *(float2*)(left + row * down) = make_float2(of[0], of[1]);
            else {
                left[row * down] = of[0];
                if (column + 1 < columns) right[row * down] = of[1];
            }
        }
    }
}
