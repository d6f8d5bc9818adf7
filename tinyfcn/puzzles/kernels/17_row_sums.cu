// 17. A reduction: a block sums a row
//
// y[r] is the sum of row r. The 128 threads of a block share the work: each
// sums every 128th element of the row; then the 128 sums are added up in shared
// memory, half of the threads adding the other half's numbers to their own, and
// again, until there is one.
//
//   x      (rows, columns), float
//   y      (rows), to be filled
//   columns  a number; rows is the size of the grid
//   launch grid rows, block 128
//
// Example, columns 5:
//
// x (2, 5)    y (2,)
// 8 6 5 2 3   24  9
// 0 0 0 1 8
//
// Graded: every number to 1e-5 of the largest, no access beyond an array, no
// race, in two orders of threads; warps that read 32 neighbours at once. Rows
// are shorter and longer than 128.
//
// Lesson: tinyfcn lessons 18

__global__ void row_sums(const float* x, float* y, int columns) {
    // your code
}
