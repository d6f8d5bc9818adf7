// Max pooling, and the two maps that its indices describe: scatter (unpooling) and gather.
//
//   kernel             computes
//   max_pool2d         the largest of each window, and where in the plane the first of it stands
//   any_foreign        for each plane, whether an index lies outside its window
//   scatter_plane      zeros, with each value added at its index
//   gather_plane       the values that stand at the indices
//
// NumPy twins: the primitives of the same names. x is (N, C, H, W), outputs and indices (N, C, OH, OW);
// an index is h * W + w. Padding is -inf and never has the index.
//
// scatter_plane in gather form: a thread owns some pixels and adds up the windows that hold them, in
// their order. So there are no atomics, and the sums have the same bits every time. Pixels look at
// their own few windows; only in a plane with a foreign index, which nobody has who unpools what was
// pooled, they look at all.
//
// One version each, but that windows of 2 x 2, the usual ones, are read and written by 128 bits, or
// by fewer where a line is no multiple of these.
//
// Run:  tinyfcn kernels run max_pool2d

#include "common.cuh"

struct Windows {
    int kernel, stride, padding, dilation;  // along one axis

    // The first pixel of window o, which may lie in the padding.
    __device__ int start(int o) const { return o * stride - padding; }

    // The same, moved on by whole taps until it is in the image.
    __device__ int first_inside(int o) const {
        const int first = start(o);
        return first < 0 ? first + (-first + dilation - 1) / dilation * dilation : first;
    }

    // One past the last pixel that window o spans, of n.
    __device__ int stop(int o, int n) const {
        const int last = start(o) + (kernel - 1) * dilation;
        return last < n ? last + 1 : n;
    }

    // The windows that span pixel i: from .. to - 1 of count.
    __device__ int from(int i) const {
        const int before = i + padding - (kernel - 1) * dilation;
        return before <= 0 ? 0 : (before + stride - 1) / stride;
    }
    __device__ int to(int i, int count) const {
        const int last = (i + padding) / stride;
        return last < count ? last + 1 : count;
    }

    // Whether they are pairs of pixels, side by side and all in the image, which has n.
    __device__ bool by_twos(int n, int count) const {
        return kernel == 2 && stride == 2 && padding == 0 && dilation == 1 && 2 * count <= n;
    }
};

// Windows of 2 x 2, side by side: a thread has those below V pixels of a line and of the next one.
template <int V> struct Twos {
    static constexpr int EACH = V / 2;
    i64 plane;
    i64 corner;  // the first pixel of the first window
    int place;   // the same, in its plane
    int w;

    __device__ Twos(i64 i, int h, int w, int oh) : w(w) {
        const i64 row = i / (w / V);
        plane = row / oh;
        place = 2 * (int)(row - plane * oh) * w + (int)(i - row * (w / V)) * V;
        corner = plane * h * w + place;
    }

    // Pixel k of window e.
    __device__ int pixel(int e, int k) const { return place + k / 2 * w + 2 * e + k % 2; }
};

// work(v), where v is the largest Pack of which lines of w pixels consist; whether there is one.
template <typename T, typename Work> __device__ bool by_width(int w, Work work) {
    constexpr int V = Vector<T>::SIZE;
    if (w % V == 0) return work(Pack<T, V>()), true;
    if constexpr (V > 4)
        if (w % 4 == 0) return work(Pack<T, 4>()), true;
    if constexpr (V > 2)
        if (w % 2 == 0) return work(Pack<T, 2>()), true;
    return false;
}

template <int V, typename Stored>
__device__ void pool_by_twos(const Stored* __restrict__ x, Stored* __restrict__ y,
                             int* __restrict__ indices, int h, int w, int oh, i64 count) {
    using T = wide<Stored>;
    FOR_EACH(i, count / Twos<V>::EACH) {
        const Twos<V> at(i, h, w, oh);
        const Pack<Stored, V>* corner = (const Pack<Stored, V>*)(x + at.corner);
        const Pack<Stored, V> lines[2] = {*corner, corner[w / V]};
        Pack<Stored, V / 2> best;
        Pack<int, V / 2> where;
#pragma unroll
        for (int e = 0; e < at.EACH; ++e) {
            T largest = -Limits<T>::infinity();
            where.at[e] = at.pixel(e, 0);  // if all are -inf
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const T v = lines[k / 2].at[2 * e + k % 2];
                if (v > largest || v != v) {
                    largest = v;
                    where.at[e] = at.pixel(e, k);
                }
            }
            best.at[e] = Stored(largest);
        }
        *(Pack<Stored, V / 2>*)(y + i * at.EACH) = best;
        if (indices) *(Pack<int, V / 2>*)(indices + i * at.EACH) = where;
    }
}

template <int V, typename Stored>
__device__ void scatter_by_twos(const Stored* __restrict__ x, const int* __restrict__ indices,
                                const int* __restrict__ foreign, Stored* __restrict__ y, int h,
                                int w, int oh, i64 windows) {
    FOR_EACH(i, windows / Twos<V>::EACH) {
        const Twos<V> at(i, h, w, oh);
        Pack<wide<Stored>, V> sums[2] = {};
        if (foreign && foreign[at.plane]) {
            const int plane = oh * (w / 2);
            const i64 start = at.plane * plane;
            for (int o = 0; o < plane; ++o) {
                const u32 beside = (u32)indices[start + o] - at.place;
#pragma unroll
                for (int k = 0; k < 2 * V; ++k)
                    if (beside == (u32)(k / V * w + k % V))
                        sums[k / V].at[k % V] += x[start + o];
            }
        } else {
            const auto values = *(const Pack<Stored, V / 2>*)(x + i * at.EACH);
            const auto where = *(const Pack<int, V / 2>*)(indices + i * at.EACH);
#pragma unroll
            for (int e = 0; e < at.EACH; ++e)
#pragma unroll
                for (int k = 0; k < 4; ++k)
                    if (where.at[e] == at.pixel(e, k))
                        sums[k / 2].at[2 * e + k % 2] = values.at[e];
        }
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            Pack<Stored, V> line;
            for (int e = 0; e < V; ++e) line.at[e] = Stored(sums[k].at[e]);
            *(Pack<Stored, V>*)(y + at.corner + k * w) = line;
        }
    }
}

template <typename Stored>
__global__ void max_pool2d(const Stored* __restrict__ x, Stored* __restrict__ y,
                           int* __restrict__ indices, int h, int w, int oh, int ow, int kh, int kw,
                           int sh, int sw, int ph, int pw, int dh, int dw, i64 count) {
    using T = wide<Stored>;
    const Windows rows = {kh, sh, ph, dh}, columns = {kw, sw, pw, dw};
    const bool twos = rows.by_twos(h, oh) && columns.by_twos(w, ow);
    if (twos && aligned(x) && aligned(y) && aligned(indices) && by_width<Stored>(w, [=](auto v) {
            pool_by_twos<v.SIZE>(x, y, indices, h, w, oh, count);
        }))
        return;
    FOR_EACH(i, count) {
        const i64 row = i / ow, plane = row / oh;
        const int o = (int)(row - plane * oh), p = (int)(i - row * ow);
        const Stored* image = x + plane * h * w;
        const int top = rows.first_inside(o), left = columns.first_inside(p);
        const int bottom = rows.stop(o, h), right = columns.stop(p, w);
        T best = -Limits<T>::infinity();
        int where = top * w + left;  // if all are -inf
        for (int r = top; r < bottom; r += dh) {
            for (int c = left; c < right; c += dw) {
                const T v = image[r * w + c];
                if (v > best || v != v) {  // of several NaN the last one counts
                    best = v;
                    where = r * w + c;
                }
            }
        }
        y[i] = Stored(best);
        if (indices) indices[i] = where;
    }
}

constexpr int THREADS = 256;

// A block a plane. It does not ask which taps a dilated window has: scatter_plane does not either.
__global__ void any_foreign(const int* __restrict__ indices, int* __restrict__ foreign, int w,
                            int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw, int dh,
                            int dw) {
    __shared__ int found[THREADS];
    const Windows rows = {kh, sh, ph, dh}, columns = {kw, sw, pw, dw};
    const int* plane = indices + (i64)blockIdx.x * oh * ow;
    int mine = 0;
    for (u32 i = threadIdx.x; i < (u32)(oh * ow); i += THREADS) {
        const int o = i / ow, p = i - o * ow;
        const int r = plane[i] / w, c = plane[i] % w;
        const bool inside = o >= rows.from(r) && o < rows.to(r, oh) &&
                            p >= columns.from(c) && p < columns.to(c, ow);
        if (!inside) mine = 1;
    }
    found[threadIdx.x] = mine;
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) found[threadIdx.x] |= found[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) foreign[blockIdx.x] = found[0];
}

// Of any windows: a thread has V pixels of a line, and looks at each window that spans one of them.
template <int V, typename Stored>
__device__ void scatter(const Stored* __restrict__ x, const int* __restrict__ indices,
                        const int* __restrict__ foreign, Stored* __restrict__ y, int h, int w,
                        int oh, int ow, const Windows& rows, const Windows& columns, i64 count) {
    FOR_EACH(i, count / V) {
        const i64 line = i / (w / V), plane = line / h;
        const int r = (int)(line - plane * h), c = (int)(i - line * (w / V)) * V;
        const bool all = foreign && foreign[plane];  // null: none is
        const int top = all ? 0 : rows.from(r), bottom = all ? oh : rows.to(r, oh);
        const int left = all ? 0 : columns.from(c), right = all ? ow : columns.to(c + V - 1, ow);
        const i64 start = plane * oh * ow;
        wide<Stored> sums[V] = {};
        for (int o = top; o < bottom; ++o) {
            for (int p = left; p < right; ++p) {
                const i64 at = start + (o * ow + p);
                const u32 beside = (u32)indices[at] - (r * w + c);
                if (beside >= V) continue;
                const wide<Stored> v = x[at];
#pragma unroll
                for (u32 k = 0; k < V; ++k)
                    if (beside == k) sums[k] += v;
            }
        }
        Pack<Stored, V> own;
        for (int k = 0; k < V; ++k) own.at[k] = Stored(sums[k]);
        *(Pack<Stored, V>*)(y + i * V) = own;
    }
}

template <typename Stored>
__global__ void scatter_plane(const Stored* __restrict__ x, const int* __restrict__ indices,
                              const int* __restrict__ foreign, Stored* __restrict__ y, int h,
                              int w, int oh, int ow, int kh, int kw, int sh, int sw, int ph,
                              int pw, int dh, int dw, i64 count) {
    const Windows rows = {kh, sh, ph, dh}, columns = {kw, sw, pw, dw};
    const bool twos = rows.by_twos(h, oh) && columns.by_twos(w, ow) && 2 * oh == h;
    if (twos && aligned(x) && aligned(indices) && aligned(y) && by_width<Stored>(w, [=](auto v) {
            scatter_by_twos<v.SIZE>(x, indices, foreign, y, h, w, oh, count / 4);
        }))
        return;
    if (aligned(y) && by_width<Stored>(w, [=](auto v) {
            scatter<v.SIZE>(x, indices, foreign, y, h, w, oh, ow, rows, columns, count);
        }))
        return;
    scatter<1>(x, indices, foreign, y, h, w, oh, ow, rows, columns, count);
}

template <typename Stored>
__global__ void gather_plane(const Stored* __restrict__ x, const int* __restrict__ indices,
                             Stored* __restrict__ y, i64 input_plane, i64 output_plane, i64 count) {
    FOR_EACH(i, count) {  // by vectors, a warp would read from twice as many sectors
        const int index = indices[i];
        const bool inside = 0 <= index && index < input_plane;  // nobody looked, so as not to wait
        y[i] = inside ? x[i / output_plane * input_plane + index]
                      : Stored(Limits<wide<Stored>>::nan());
    }
}
