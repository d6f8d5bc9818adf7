// The inner part of products with asynchronous copies: a block computes 128 x 128 elements of
// C = A B.
//
// The sum goes 16 terms at a time. What a step needs of A (128 rows) and of B (128 columns) is a panel
// of 128 lines each, copied from global to shared memory past registers. Three pairs of panels take
// turns: while one is multiplied, the copies of the two next steps are under way.
//
// Banks: a line is four vectors of four terms, 64 bytes without a gap, and vector v of line l lies in
// place v ^ (l / 2 % 4). So what the threads of a warp touch together, vector v of eight lines side by
// side or four vectors of two lines, is 128 bytes in different banks.

#pragma once
#include "ptx.cuh"
#include "tile.cuh"

constexpr int LINES = 128;  // rows and columns of C a block computes
constexpr int TERMS = 16;   // of the sum between two barriers
constexpr int STAGES = 3;   // pairs of panels

typedef Vector<float> Panel[LINES][TERMS / 4];
struct Panels {
    Panel a, b;
};

__device__ inline int place_of(int line, int v) { return v ^ (line / 2 % 4); }

// An operand is an array seen along two axes, its lines and its terms: the element of a line and a
// term stands where the offsets of both add up to, and is 0 unless their places in an image add up
// to one inside of it. A matrix is an image of one pixel.
struct Point {
    i64 at;    // offset
    int h, w;  // row and column in the image; OUTSIDE if there is no such line or term
};
constexpr int OUTSIDE = -(1 << 30);

// An axis of a matrix: `count` lines or terms so far apart. An axis has point(index); and
// along(index, step), a walk whose next() is that point at first, then one a step further each time.
struct MatrixAxis {
    int count;
    i64 apart;

    __device__ Point point(int index) const {
        return {index * apart, index < count ? 0 : OUTSIDE, 0};
    }

    struct Walk {
        int index, step, count;
        i64 at, at_step;
        __device__ Point next() {
            const Point now = {at, index < count ? 0 : OUTSIDE, 0};
            index += step;
            at += at_step;
            return now;
        }
    };
    __device__ Walk along(int index, int step) const {
        return {index, step, count, index * apart, step * apart};
    }
};

// Copies the panels of an operand, one after the other. The 32 threads of a warp copy 8 lines of four
// vectors; or, where vectors cannot be copied as such, 8 lines of the four elements of one.
template <int THREADS, typename Lines, typename Terms> struct Operand {
    static constexpr int EACH = 4 * LINES / THREADS;  // lines of a thread
    const float* data;
    int height, width;  // of an image
    bool vectors;
    typename Terms::Walk walk;
    Point line[EACH];

    // From line `first`; with `vectors`, four terms lie side by side, at a multiple of 16 bytes.
    __device__ Operand(const float* data, const Lines& lines, int first, const Terms& terms,
                       int from, int height, int width, bool vectors)
        : data(data), height(height), width(width), vectors(vectors),
          walk(terms.along(from + (vectors ? own_vector() * 4 : own_element()),
                           vectors ? TERMS : 4)) {
#pragma unroll
        for (int i = 0; i < EACH; i++) line[i] = lines.point(first + own_line(i));
    }

    __device__ static int own_vector() { return threadIdx.x % 4; }
    __device__ static int own_element() { return threadIdx.x % 32 / 8; }
    __device__ int own_line(int i) const {
        if (vectors) return threadIdx.x / 4 + i * (THREADS / 4);
        return threadIdx.x / 32 * (8 * EACH) + i * 8 + threadIdx.x % 8;
    }

    __device__ void copy(Panel& panel) {
        if (vectors) {
            const Point term = walk.next();
#pragma unroll
            for (int i = 0; i < EACH; i++)
                copy_one<16>(place_in(panel, i, own_vector()), line[i], term);
            return;
        }
#pragma unroll
        for (int v = 0; v < TERMS / 4; v++) {
            const Point term = walk.next();
#pragma unroll
            for (int i = 0; i < EACH; i++)
                copy_one<4>(&place_in(panel, i, v)->at[own_element()], line[i], term);
        }
    }

private:
    __device__ Vector<float>* place_in(Panel& panel, int i, int v) const {
        return &panel[own_line(i)][place_of(own_line(i), v)];
    }
    template <int BYTES> __device__ void copy_one(void* to, const Point& line, const Point& term) {
        const bool inside = ((unsigned)(line.h + term.h) < (unsigned)height) &
                            ((unsigned)(line.w + term.w) < (unsigned)width);  // no branch
        copy_async<BYTES>(to, data + line.at + term.at, inside);
    }
};

// A matrix from line `first` on: line l and term k stand at data[l * line_stride + k * term_stride].
template <int THREADS>
__device__ Operand<THREADS, MatrixAxis, MatrixAxis>
matrix(const float* data, int lines, i64 line_stride, int first, int terms, i64 term_stride, int from) {
    const bool vectors =
        term_stride == 1 && line_stride % 4 == 0 && terms % 4 == 0 && aligned(data);
    return {data, {lines, line_stride}, first, {terms, term_stride}, from, 1, 1, vectors};
}

// use(a, b) multiplies two panels; called for every 16 terms from .. to.
template <typename OperandA, typename OperandB, typename Use>
__device__ void pipeline(Panels (&panels)[STAGES], OperandA& a, OperandB& b, int from, int to,
                         Use use) {
    const int steps = (to - from + TERMS - 1) / TERMS;
    int filled = 0, used = 0;
    for (int step = 1 - STAGES; step < steps; step++) {
        if (step >= 0) {
            wait_for_copies<STAGES - 2>();
            __syncthreads();  // all have waited; and nobody reads what is filled next
        }
        if (step + STAGES - 1 < steps) {
            a.copy(panels[filled].a);
            b.copy(panels[filled].b);
            filled = (filled + 1) % STAGES;
        }
        end_copies();
        if (step >= 0) {
            use(panels[used].a, panels[used].b);
            used = (used + 1) % STAGES;
        }
    }
}
