// The rectifier, element by element.
//
//   kernel       computes
//   relu         max(x, 0)
//   relu_grad    gy where y > 0, else 0
//
// NumPy twins: the primitives of the same names. All arrays have one shape.
//
// One version each: they read and write every element once, in order, by 128 bits, so that memory is
// the limit.
//
// Run:  tinyfcn kernels run relu

#include "common.cuh"

template <typename Stored>
__global__ void relu(const Stored* __restrict__ x, Stored* __restrict__ y, i64 count) {
    for_each_vector<Stored>(count, aligned(x) && aligned(y), [=](i64 i, auto v) {
        using V = decltype(v);
        v = *(const V*)(x + i);
        for (Stored& e : v.at) e = e > 0 || e != e ? e : Stored(0);  // NaN stays, as in np.maximum
        *(V*)(y + i) = v;
    });
}

template <typename Stored>
__global__ void relu_grad(const Stored* __restrict__ gy, const Stored* __restrict__ y,
                          Stored* __restrict__ gx, i64 count) {
    for_each_vector<Stored>(count, aligned(gy) && aligned(y) && aligned(gx), [=](i64 i, auto v) {
        using V = decltype(v);
        V g = *(const V*)(gy + i);
        v = *(const V*)(y + i);
        int k = 0;
        for (Stored& e : g.at) e = v.at[k++] > 0 ? e : Stored(0);
        *(V*)(gx + i) = g;
    });
}
