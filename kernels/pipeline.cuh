// The inner part of products with asynchronous copies: a block computes 128 x 128 elements of
// C = A B.
//
// The sum goes 64 bytes at a time, 16 terms of float or 32 of half. What a step needs of A (128 rows)
// and of B (128 columns) is a panel of 128 lines each, copied from global to shared memory past
// registers. Three pairs of panels take turns: while one is multiplied, the copies of the two next
// steps are under way.
//
// There is no such copy of 16 bits. Halves that are not copied by vectors are loaded to registers before
// a part of the products and stored behind it, around each of eight parts a quarter of a panel: other
// warps multiply while one waits. They are loaded one by one, or eight of a row of pixels at once.
//
// Banks: a line is four vectors without a gap, and vector v of line l lies in place v ^ s, where s is 0,
// 2, 1, 3 for every two lines. So what the threads of a warp touch together, vector v of eight lines
// side by side, four vectors of two lines, or two vectors of four, is 128 bytes in different banks.

#pragma once
#include "ptx.cuh"
#include "tile.cuh"

constexpr int LINES = 128;  // rows and columns of C a block computes
constexpr int LINE = 64;    // bytes of the sum between two barriers
constexpr int STAGES = 3;   // pairs of panels

typedef char Panel[LINES][LINE];  // of terms of any type
struct Panels {
    alignas(16) Panel a, b;
};

// Where vector v of a line lies; the same for lines that are a multiple of 8 apart.
__device__ inline int place_of(int line, int v) { return v ^ ((line & 2) + (line >> 2 & 1)); }

// An operand is an array seen along two axes, its lines and its terms: the element of a line and a
// term stands where the offsets of both add up to, and is 0 unless their places in an image add up
// to one inside of it. A matrix is an image of one pixel.
template <typename Offset> struct Point {
    Offset at;
    bool there;  // whether there is such a line or term
    int h, w;    // row and column in the image
};

// An axis of a matrix: `count` lines or terms so far apart. An axis has point(index); and
// along(index, step), a walk whose next() is that point at first, then one a step further each time,
// and beside() the point after that which comes next; both at one place in the image, if they are ALIKE.
template <typename Offset> struct MatrixAxis {
    static constexpr bool ALIKE = true;
    int count;
    Offset apart;

    __device__ Point<Offset> point(int index) const {
        return {index * apart, index < count, 0, 0};
    }

    struct Walk {
        int index, step, count;
        Offset at, at_step, apart;
        __device__ Point<Offset> next() {
            const Point<Offset> now = {at, index < count, 0, 0};
            index += step;
            at += at_step;
            return now;
        }
        __device__ Point<Offset> beside() const {
            return {at + apart, index + 1 < count, 0, 0};
        }
    };
    __device__ Walk along(int index, int step) const {
        return {index, step, count, index * apart, step * apart, apart};
    }
};

// Eight halves side by side in a row of an image, from any address on: load() has the two vectors that
// they lie in, and vector() cuts them out; those beyond the ends of the row are 0. From begin to end is
// the array, whole vectors.
template <typename T> struct Row {
    uint4 low, high;
    int shift, kept;  // halves before the first; bits of those in the row

    __device__ void load(const T* from, const T* begin, const T* end, int column, int width) {
        const T* at = (const T*)((i64)from & ~15);
        shift = ((i64)from & 15) / 2;
        low = load_vector(at, (at >= begin) & (at < end));
        at += 8;
        high = load_vector(at, (at >= begin) & (at < end) & (shift > 0));
        const int first = min(max(-column, 0), 8), last = min(max(width - column, 0), 8);
        kept = 255 << first & ((1 << last) - 1);
    }
    __device__ uint4 vector() const {
        u32 w[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
        for (int j = 0; j < 6; j++) w[j] = shift & 4 ? w[j + 2] : w[j];
#pragma unroll
        for (int j = 0; j < 5; j++) w[j] = shift & 2 ? w[j + 1] : w[j];
#pragma unroll
        for (int j = 0; j < 4; j++) w[j] = shift & 1 ? w[j] >> 16 | w[j + 1] << 16 : w[j];
        if (kept != 255) {
#pragma unroll
            for (int j = 0; j < 4; j++)
                w[j] &= (kept >> 2 * j & 1) * 0xffffu | (kept >> 2 * j & 2) * 0x7fff8000u;
        }
        return make_uint4(w[0], w[1], w[2], w[3]);
    }
};

// Fills the panels of an operand, one after the other. The 32 threads of a warp copy 8 lines of four
// vectors; or, where vectors cannot be copied as such, 8 lines of the four words of one.
template <int THREADS, typename T, typename Lines, typename Terms> struct Operand {
    typedef decltype(Lines().point(0).at) LineAt;
    typedef decltype(Terms().point(0).at) TermAt;
    static constexpr bool FAR = sizeof(LineAt) == sizeof(i64);
    static constexpr bool ROWS = sizeof(T) == 2 && !FAR && !Terms::ALIKE;
    static constexpr int EACH = 4 * LINES / THREADS;  // lines of a thread
    static constexpr int TERMS = LINE / sizeof(T), VECTOR = 16 / sizeof(T), WORD = 4 / sizeof(T);
    const T* data;
    int height, width;  // of an image
    bool vectors;
    int own;  // bytes of a panel up to what a thread copies first; for others of a line bits are flipped
    typename Terms::Walk walk;
    Point<LineAt> line[EACH];
    struct {
        T left, right;
    } held[EACH];
    const T *begin, *end;  // of the array, where terms are Rows; else null
    Row<T> row;
    Point<i64> now;

    // From line `first`; with `vectors`, those of a vector lie side by side, at a multiple of 16 bytes, or
    // at any if there is an array.
    __device__ Operand(const T* data, const Lines& lines, int first, const Terms& terms, int from,
                       int height, int width, bool vectors, const T* begin = nullptr,
                       const T* end = nullptr)
        : data(data), height(height), width(width), vectors(vectors),
          walk(terms.along(from + (vectors ? own_vector() * VECTOR : own_word() * WORD),
                           vectors ? TERMS : VECTOR)),
          begin(begin), end(end) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            line[i] = lines.point(first + own_line(i));
            if (!line[i].there) line[i].h = -(1 << 30);  // far outside
            if constexpr (FAR) line[i].at = known((i64)(data + line[i].at));
        }
        const int place = place_of(own_line(0), vectors ? own_vector() : 0);
        own = known(own_line(0) * LINE + place * 16 + (vectors ? 0 : own_word() * 4));
    }

    __device__ static int own_vector() { return threadIdx.x % 4; }
    __device__ static int own_word() { return threadIdx.x % 32 / 8; }
    __device__ int own_line(int i) const {
        if (vectors) return threadIdx.x / 4 + i * (THREADS / 4);
        return threadIdx.x / 32 * (8 * EACH) + threadIdx.x % 8 + i * 8;
    }

    // Begins the copies that can go past registers.
    __device__ void copy(Panel& panel) {
        if (ROWS && begin) return;
        if (vectors) {
            const auto term = seen(walk.next());
#pragma unroll
            for (int i = 0; i < EACH; i++)
                copy_async<16>(place(panel, i * (THREADS / 4), 0), from(i, term), inside(i, term));
        } else if constexpr (WORD == 1) {
#pragma unroll
            for (int v = 0; v < LINE / 16; v++) {
                const auto term = seen(walk.next());
#pragma unroll
                for (int i = 0; i < EACH; i++)
                    copy_async<4>(place(panel, i * 8, v), from(i, term), inside(i, term));
            }
        }
    }

    // The others, a vector of each line at a time: fetch() loads, put() stores.
    __device__ void fetch(int v) {
        if constexpr (ROWS) {
            if (begin) {
                if (v == 0) now = seen(walk.next());
                const bool inside = now.there & ((unsigned)(line[v].h + now.h) < (unsigned)height);
                row.load(from(v, now), begin, inside ? end : begin, line[v].w + now.w, width);
                return;
            }
        }
        if constexpr (WORD == 2) {
            if (vectors) return;
            const auto right = seen(walk.beside()), left = seen(walk.next());
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                const bool one = inside(i, left);
                const bool other = Terms::ALIKE ? one & right.there : inside(i, right);
                held[i] = {load_half(from(i, left), one), load_half(from(i, right), other)};
            }
        }
    }
    __device__ void put(Panel& panel, int v) const {
        if constexpr (ROWS) {
            if (begin) {
                *(uint4*)place(panel, v * (THREADS / 4), 0) = row.vector();
                return;
            }
        }
        if constexpr (WORD == 2) {
            if (vectors) return;
#pragma unroll
            for (int i = 0; i < EACH; i++)
                *place(panel, i * 8, v) = held[i].left.bits | (u32)held[i].right.bits << 16;
        }
    }

private:
    __device__ u32* place(Panel& panel, int lines, int v) const {
        return (u32*)(panel[lines] + (own ^ v * 16));
    }
    // Addresses of lines are known, or those of terms, whichever are further apart: what is added to one
    // for an element is then one instruction.
    __device__ auto seen(Point<TermAt> term) const {
        if constexpr (FAR)
            return term;
        else
            return Point<i64>{known((i64)(data + term.at)), term.there, term.h, term.w};
    }
    template <typename Term> __device__ const T* from(int i, const Term& term) const {
        if constexpr (FAR) return (const T*)line[i].at + term.at;
        else return (const T*)term.at + line[i].at;
    }
    template <typename Term> __device__ bool inside(int i, const Term& term) const {
        return term.there & ((unsigned)(line[i].h + term.h) < (unsigned)height) &
               ((unsigned)(line[i].w + term.w) < (unsigned)width);  // no branch
    }
};

// A matrix from line `first` on: line l and term k stand at data[l * line_stride + k * term_stride].
template <int THREADS, typename Offset, typename T>
__device__ Operand<THREADS, T, MatrixAxis<Offset>, MatrixAxis<Offset>>
matrix(const T* data, int lines, Offset line_stride, int first, int terms, Offset term_stride,
       int from) {
    constexpr int V = Vector<T>::SIZE;
    const bool vectors =
        term_stride == 1 && line_stride % V == 0 && terms % V == 0 && aligned(data);
    return {data, {lines, line_stride}, first, {terms, term_stride}, from, 1, 1, vectors};
}

// use(a, b, part) multiplies one of PARTS of two panels; called for all terms from .. to. Halves take
// eight.
template <int PARTS, typename OperandA, typename OperandB, typename Use>
__device__ void pipeline(Panels (&panels)[STAGES], OperandA& a, OperandB& b, int from, int to,
                         Use use) {
    const int steps = (to - from + OperandA::TERMS - 1) / OperandA::TERMS;
    int stage = 1;  // the one that is used at a step, or would be; the one before it is filled
    for (int step = 1 - STAGES; step < steps; step++) {
        if (step >= 0) {
            wait_for_copies<STAGES - 2>();
            __syncthreads();  // all have waited; and nobody reads what is filled next
        }
        const bool more = step + STAGES - 1 < steps;
        Panels &now = panels[stage], &next = panels[stage ? stage - 1 : STAGES - 1];
        if (more) {
            a.copy(next.a);
            b.copy(next.b);
        }
        end_copies();
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            if (more) part < LINE / 16 ? a.fetch(part) : b.fetch(part - LINE / 16);
            if (step >= 0) use(now.a, now.b, part);
            if (more) part < LINE / 16 ? a.put(next.a, part) : b.put(next.b, part - LINE / 16);
        }
        stage = stage < STAGES - 1 ? stage + 1 : 0;
    }
}
