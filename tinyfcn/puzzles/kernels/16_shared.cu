// 16. Shared memory: sums of seven neighbours
//
// y[i] = x[i - 3] + ... + x[i + 3], where x is 0 outside. Neighbouring threads
// need nearly the same elements, and global memory is slow. So a block of 64
// threads first copies the 64 + 6 elements that it needs into an array that all
// of its threads see, __shared__ float tile[70]; waits until all have done
// their part, __syncthreads(); and then sums from there.
//
//   x      (n), float
//   y      (n), to be filled
//   n      their length
//   launch grid ceil(n / 64), block 64
//
// Example, n 10:
//
// x (10,)               y (10,)
// 8 6 5 2 3 0 0 0 1 8   21 24 24 24 16 11 14 12  9  9
//
// Graded: every number to 1e-5 of the largest, no access beyond an array, no
// race, in two orders of threads; no element is read from x twice by the same
// block. All threads of a block have to come to a barrier, also those beyond n.
//
// Lesson: tinyfcn lessons 17

__global__ void shared(const float* x, float* y, int n) {
    // your code
}
