// The inner part of every fast product: 128 threads, a block, compute 64 x 64 elements of C = A B.
//
// The sum over k goes 16 terms at a time. For each of these steps a loader fetches a slice of A
// (64 rows x 16) and one of B (16 x 64 columns) from global memory into registers, and puts it into
// shared memory, always with k first: a[k][row], b[k][column]. A thread then holds 8 x 4 sums in
// registers and adds 32 products for every 12 elements it reads, three 128-bit loads of floats.
//
// Double buffering: the slices of the next step are fetched before the products of this one, whose
// arithmetic hides the wait for global memory, and go to the other half of shared memory, so that
// one barrier a step is enough.
//
// Banks: the rows and columns of a thread are spread out in groups of 128 bits, so that eight
// threads side by side read 128 bytes without a gap. The pitch of 64 + (128 bits) keeps 128-bit
// loads aligned and makes the transposed stores of a loader conflict two ways at most.
//
// A loader has fetch(k0), for terms k0 .. k0 + 15 of this thread's share, zero where there is no
// such term, row or column; and put(slice). The products differ only in their loaders.

#pragma once
#include "common.cuh"

constexpr int TILE = 64;     // rows and columns of C a block computes
constexpr int DEPTH = 16;    // terms of the sum between two barriers
constexpr int THREADS = 128; // of a block
constexpr int ROWS = 8;      // of C a thread computes, in
constexpr int COLUMNS = 4;   // so many columns
constexpr int SHARE = TILE * DEPTH / THREADS;  // elements of a slice a thread fetches

// The same numbers for any other COLUMNS of a thread; gemm_5 has 8, which makes 128 x 128 elements of
// C, 8 terms between two barriers and 256 threads.
template <int COLUMNS> struct Sizes {
    static constexpr int TILE = 16 * COLUMNS, DEPTH = 64 / COLUMNS;
    static constexpr int THREADS = TILE * TILE / (ROWS * COLUMNS), SHARE = TILE * DEPTH / THREADS;
};

template <typename T, int DEPTH = ::DEPTH, int TILE = ::TILE>
using Slice = T[DEPTH][TILE + Vector<T>::SIZE];

template <typename T, int COLUMNS = ::COLUMNS> struct Slices {
    alignas(16) Slice<T, Sizes<COLUMNS>::DEPTH, Sizes<COLUMNS>::TILE> a[2];
    alignas(16) Slice<T, Sizes<COLUMNS>::DEPTH, Sizes<COLUMNS>::TILE> b[2];
};

// Row i and column j of a thread, in the tile. The 32 threads of a warp lie 4 x 8, the warps of a
// block two by two.
template <typename T, int COLUMNS> __device__ int row_of(int i) {
    constexpr int V = Vector<T>::SIZE, ACROSS = Sizes<COLUMNS>::TILE / ROWS;
    const int y = threadIdx.x % 32 / 8 + threadIdx.x / 64 * 4;
    return i / V * (ACROSS * V) + y * V + i % V;
}
template <typename T, int COLUMNS> __device__ int column_of(int j) {
    constexpr int V = Vector<T>::SIZE, ACROSS = Sizes<COLUMNS>::TILE / COLUMNS;
    const int x = threadIdx.x % 8 + threadIdx.x / 32 % 2 * 8;
    return j / V * (ACROSS * V) + x * V + j % V;
}

template <typename T, int COUNT>
__device__ void read_vectors(const T* from, int apart, T (&to)[COUNT]) {
    constexpr int V = Vector<T>::SIZE;
#pragma unroll
    for (int i = 0; i < COUNT; i += V) {
        const Vector<T> v = *(const Vector<T>*)(from + i * apart);
#pragma unroll
        for (int e = 0; e < V; e++) to[i + e] = v.at[e];
    }
}

// sum = A B over terms from .. to, where from is a multiple of DEPTH.
template <typename T, int COLUMNS, typename LoaderA, typename LoaderB>
__device__ void multiply(Slices<T, COLUMNS>& shared, LoaderA& a, LoaderB& b, int from, int to,
                         T (&sum)[ROWS][COLUMNS]) {
    constexpr int TILE = Sizes<COLUMNS>::TILE, DEPTH = Sizes<COLUMNS>::DEPTH;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) sum[i][j] = 0;
    if (from >= to) return;

    const int row = row_of<T, COLUMNS>(0), column = column_of<T, COLUMNS>(0);
    a.fetch(from);
    b.fetch(from);
    a.put(shared.a[0]);
    b.put(shared.b[0]);
    __syncthreads();
    int half = 0;
    for (int k0 = from; k0 < to; k0 += DEPTH) {
        const bool more = k0 + DEPTH < to;
        if (more) {
            a.fetch(k0 + DEPTH);
            b.fetch(k0 + DEPTH);
        }
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            T left[ROWS], right[COLUMNS];
            read_vectors(&shared.a[half][k][row], TILE / ROWS, left);
            read_vectors(&shared.b[half][k][column], TILE / COLUMNS, right);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) sum[i][j] += left[i] * right[j];
        }
        if (more) {
            half = 1 - half;
            a.put(shared.a[half]);
            b.put(shared.b[half]);
            __syncthreads();
        }
    }
}

// Writes the sums: place(row, column) is where an element goes. With `vectors`, groups of
// Vector<T>::SIZE columns lie side by side there, aligned, and none is cut by the edge of C.
template <typename T, int COLUMNS, typename Place>
__device__ void write(const T (&sum)[ROWS][COLUMNS], int rows, int columns, bool vectors,
                      Place place) {
    constexpr int V = Vector<T>::SIZE;
#pragma unroll
    for (int j = 0; j < COLUMNS; j += V) {
        const int column = column_of<T, COLUMNS>(j);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int row = row_of<T, COLUMNS>(i);
            if (row >= rows) continue;
            if (vectors && column < columns) {
                Vector<T> v;
#pragma unroll
                for (int e = 0; e < V; e++) v.at[e] = sum[i][j + e];
                *(Vector<T>*)place(row, column) = v;
            } else {
#pragma unroll
                for (int e = 0; e < V; e++)
                    if (column + e < columns) *place(row, column + e) = sum[i][j + e];
            }
        }
    }
}

// Adds bias[row], where there is one, and cuts off below 0 with `relu`.
template <typename T, int COLUMNS>
__device__ void finish(T (&sum)[ROWS][COLUMNS], const T* bias, int rows, bool relu) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const int row = row_of<T, COLUMNS>(i);
        const T add = bias && row < rows ? bias[row] : T(0);
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            const T v = sum[i][j] + add;
            sum[i][j] = relu && v < 0 ? T(0) : v;  // NaN stays, as in np.maximum
        }
    }
}

// Loads from a matrix: line l (a row of A, a column of B) and term k stand at
// data[l * line_stride + k * term_stride]. Neighbouring threads go along whichever lies side by
// side in memory, by 128-bit loads if the matrix is aligned to them.
template <typename T, int COLUMNS = ::COLUMNS> struct MatrixLoader {
    static constexpr int V = Vector<T>::SIZE, TILE = Sizes<COLUMNS>::TILE;
    static constexpr int DEPTH = Sizes<COLUMNS>::DEPTH, THREADS = Sizes<COLUMNS>::THREADS;
    static constexpr int SHARE = Sizes<COLUMNS>::SHARE;
    const T* data;  // line 0 of the tile, term 0
    i64 line_stride, term_stride;
    int lines, terms;  // from `data` to the edge of the matrix
    bool along_terms, vectors;
    T held[SHARE];

    __device__ MatrixLoader(const T* data, i64 line_stride, i64 term_stride, int lines, int terms)
        : data(data), line_stride(line_stride), term_stride(term_stride), lines(lines),
          terms(terms) {
        along_terms = term_stride == 1;
        const bool whole = along_terms ? line_stride % V == 0 && terms % V == 0
                                       : term_stride % V == 0 && lines % V == 0;
        vectors = (along_terms || line_stride == 1) && whole && aligned(data);
    }

    // Where piece i of this thread begins in the slice, in pieces of SIZE elements.
    template <int SIZE> __device__ void place(int i, int& line, int& term) const {
        const int piece = threadIdx.x + i * THREADS;
        line = along_terms ? piece / (DEPTH / SIZE) : piece % (TILE / SIZE) * SIZE;
        term = along_terms ? piece % (DEPTH / SIZE) * SIZE : piece / (TILE / SIZE);
    }

    __device__ void fetch(int k0) {
        int line, term;
        if (vectors) {
#pragma unroll
            for (int i = 0; i < SHARE / V; i++) {
                place<V>(i, line, term);
                Vector<T> v = {};
                if (line < lines && k0 + term < terms)
                    v = *(const Vector<T>*)(data + line * line_stride + (k0 + term) * term_stride);
#pragma unroll
                for (int e = 0; e < V; e++) held[i * V + e] = v.at[e];
            }
        } else {
#pragma unroll
            for (int i = 0; i < SHARE; i++) {
                place<1>(i, line, term);
                const bool inside = line < lines && k0 + term < terms;
                held[i] = inside ? data[line * line_stride + (k0 + term) * term_stride] : T(0);
            }
        }
    }

    __device__ void put(Slice<T, DEPTH, TILE>& slice) const {
        int line, term;
        if (!vectors) {
#pragma unroll
            for (int i = 0; i < SHARE; i++) {
                place<1>(i, line, term);
                slice[term][line] = held[i];
            }
            return;
        }
#pragma unroll
        for (int i = 0; i < SHARE / V; i++) {
            place<V>(i, line, term);
            if (along_terms) {
#pragma unroll
                for (int e = 0; e < V; e++) slice[term + e][line] = held[i * V + e];
            } else {
                Vector<T> v;
#pragma unroll
                for (int e = 0; e < V; e++) v.at[e] = held[i * V + e];
                *(Vector<T>*)&slice[term][line] = v;
            }
        }
    }
};
