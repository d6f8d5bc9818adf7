// Batch normalisation, with or without the ReLU behind it. x is (N, C, ...), vectors are (C,).
//
//   kernel                  computes                                             NumPy twin
//   batch_norm_parts        mean, sum of (x - mean)^2 of each part of a channel  batch_norm_stats
//   batch_norm_stats        from these, mean and variance of the channel
//   batch_norm              (x - mean) * invstd * weight + bias, or max(that, 0) batch_norm
//   batch_norm_whole        all three, of channels of few parts                  batch_norm_train
//   batch_norm_grad_parts   sums of gy and of gy * (x - mean) of each part       batch_norm_grad
//   batch_norm_grad         weight * invstd * (gy - share * (sum(gy) + xhat * sum(gy * xhat)))
//   batch_norm_grad_whole   both, of channels of few parts
//
// With an output y, gy counts as 0 where y <= 0.
//
// Elements go by 128 bits, whatever the pixels are, so that a vector may reach into other channels.
//
// Statistics read x once: a block keeps its part in registers, so it can take the part's mean first
// and the deviations from it afterwards. That is as exact as two passes, also where the mean is
// large against the deviations and E[x^2] - E[x]^2 would lose every digit.
//
// Of small images a launch takes longer than the work. So where a channel has few parts, a block has
// the whole channel, and its second pass over x finds it in the cache; the bits are the same.
//
// Run:  tinyfcn kernels run batch_norm

#include "channel_sums.cuh"

// A part of x, the same for all threads of its block.
template <typename V, typename Stored>
__device__ void part_moments(const Stored* __restrict__ x, PartWalk<V::SIZE> at, int size,
                             double* shared, double* mean, double* square) {
    using T = wide<Stored>;
    V values[at.STEPS];
    T sum = 0;
    const int first = at.number;
#pragma unroll
    for (int k = 0; k < at.STEPS; ++k, at.next()) {
        values[k] = at.number < size ? *(const V*)(x + at.offset) : V();
        for (const T v : values[k].at) sum += v;
    }
    const T guess = (T)(block_sum(sum, shared) / size);

    T deviations = 0, squared = 0;
#pragma unroll
    for (int k = 0; k < at.STEPS; ++k) {
        if (first + k * at.STEP < size) {
            for (const T v : values[k].at) {
                const T d = v - guess;
                deviations += d;
                squared += d * d;
            }
        }
    }
    const double rest = block_sum(deviations, shared);  // what rounding took from the guess
    const double sum_squared = block_sum(squared, shared);
    if (threadIdx.x == 0) {
        *mean = guess + rest / size;
        *square = sum_squared - rest * rest / size;
    }
}

// A block a part; means and squares are (channels, parts).
template <typename Stored>
__global__ void batch_norm_parts(const Stored* __restrict__ x, double* __restrict__ means,
                                 double* __restrict__ squares, int channels, i64 pixels, i64 count,
                                 int parts) {
    __shared__ double shared[PART_THREADS];
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    by_groups<Stored>(pixels, [=](auto v) {
        const PartWalk<v.SIZE> at(channels, pixels, channel, part);
        part_moments<decltype(v)>(x, at, part_size(part, count), shared, means + blockIdx.x,
                                  squares + blockIdx.x);
    }, x);
}

// What is kept of a channel besides its mean. Any of the arrays may be null.
template <typename T>
struct Kept {
    T *var, *invstd;
    T *running_mean, *running_var;  // the share `keep` stays, and `momentum` of the new ones comes
    T keep, momentum, eps, unbiased;  // unbiased: M / (M - 1) with M values a channel
};

// Mean and 1 / sqrt(var + eps) of a channel, for all threads of its block: the mean of all parts, and
// each part's squares moved from its own mean to that.
template <typename T>
__device__ void channel_moments(const double* means, const double* squares, const Kept<T>& kept,
                                i64 count, int parts, double* shared, T* mean, T* invstd) {
    double sum = 0;
    for (int t = threadIdx.x; t < parts; t += PART_THREADS) sum += means[t] * part_size(t, count);
    const double center = block_sum(sum, shared) / count;
    double square = 0;
    for (int t = threadIdx.x; t < parts; t += PART_THREADS) {
        const double d = means[t] - center;
        square += squares[t] + d * d * part_size(t, count);
    }
    const T var = (T)(block_sum(square, shared) / count);
    *mean = (T)center;
    *invstd = T(1) / sqrt(var + kept.eps);
    if (threadIdx.x > 0) return;
    const int c = blockIdx.x;
    if (kept.var) kept.var[c] = var;
    if (kept.invstd) kept.invstd[c] = *invstd;
    if (kept.running_mean)
        kept.running_mean[c] = kept.keep * kept.running_mean[c] + kept.momentum * *mean;
    if (kept.running_var)
        kept.running_var[c] =
            kept.keep * kept.running_var[c] + kept.momentum * (var * kept.unbiased);
}

// A block a channel.
template <typename T>
__global__ void batch_norm_stats(const double* __restrict__ means,
                                 const double* __restrict__ squares, T* __restrict__ mean,
                                 T* __restrict__ var, T* __restrict__ invstd,
                                 T* __restrict__ running_mean, T* __restrict__ running_var, T keep,
                                 T momentum, T eps, T unbiased, i64 count, int parts) {
    __shared__ double shared[PART_THREADS];
    const Kept<T> kept{var, invstd, running_mean, running_var, keep, momentum, eps, unbiased};
    const i64 first = (i64)blockIdx.x * parts;
    T m, s;
    channel_moments(means + first, squares + first, kept, count, parts, shared, &m, &s);
    if (threadIdx.x == 0) mean[blockIdx.x] = m;
}

// The channels of a few elements, from i on.
struct Channels {
    int now, channels, end, image;  // end: the first element that is no longer of this channel

    __device__ Channels(i64 i, int channels, i64 pixels) : channels(channels) {
        const i64 plane = i / pixels;
        now = (int)(plane % channels);
        end = at_most_far((plane + 1) * pixels - i);
        image = at_most_far(pixels);
    }

    // Whether element e, behind the last that was asked for, is the first of a channel.
    __device__ bool begins(int e) {
        if (e < end) return false;
        now = now + 1 < channels ? now + 1 : 0;
        end += image;
        return true;
    }
};

template <typename T>
__device__ T normalized(T x, T mean, T scale, T bias, int relu) {
    const T v = (x - mean) * scale + bias;
    return relu && v <= 0 ? T(0) : v;
}

template <typename Stored>
__global__ void batch_norm(const Stored* __restrict__ x, const wide<Stored>* __restrict__ mean,
                           const wide<Stored>* __restrict__ invstd,
                           const wide<Stored>* __restrict__ weight,
                           const wide<Stored>* __restrict__ bias, Stored* __restrict__ y,
                           int channels, i64 pixels, int relu, i64 count) {
    using T = wide<Stored>;
    for_each_vector<Stored>(count, aligned(x) && aligned(y), [=](i64 i, auto v) {
        using V = decltype(v);
        v = *(const V*)(x + i);
        Channels of(i, channels, pixels);
        T m = mean[of.now], scale = invstd[of.now] * weight[of.now], shift = bias[of.now];
        for (int e = 0; e < V::SIZE; ++e) {
            if (of.begins(e))
                m = mean[of.now], scale = invstd[of.now] * weight[of.now], shift = bias[of.now];
            v.at[e] = Stored(normalized<T>(v.at[e], m, scale, shift, relu));
        }
        *(V*)(y + i) = v;
    });
}

// A block a channel, of at most WHOLE parts.
template <typename Stored>
__global__ void batch_norm_whole(const Stored* __restrict__ x,
                                 const wide<Stored>* __restrict__ weight,
                                 const wide<Stored>* __restrict__ bias, Stored* __restrict__ y,
                                 wide<Stored>* __restrict__ mean, wide<Stored>* __restrict__ invstd,
                                 wide<Stored>* __restrict__ running_mean,
                                 wide<Stored>* __restrict__ running_var, wide<Stored> keep,
                                 wide<Stored> momentum, wide<Stored> eps, wide<Stored> unbiased,
                                 int channels, i64 pixels, i64 count, int parts, int relu) {
    using T = wide<Stored>;
    __shared__ double shared[PART_THREADS], means[WHOLE], squares[WHOLE];
    const int c = blockIdx.x;
    by_groups<Stored>(pixels, [&](auto v) {
        using V = decltype(v);
        for (int part = 0; part < parts; ++part)
            part_moments<V>(x, PartWalk<v.SIZE>(channels, pixels, c, part), part_size(part, count),
                            shared, means + part, squares + part);
        __syncthreads();
        const Kept<T> kept{nullptr, invstd, running_mean, running_var, keep, momentum, eps, unbiased};
        T m, s;
        channel_moments(means, squares, kept, count, parts, shared, &m, &s);
        if (threadIdx.x == 0) mean[c] = m;
        const T scale = s * weight[c], shift = bias[c];
        for (PartWalk<v.SIZE> at(channels, pixels, c, 0); at.number < (int)count; at.next()) {
            v = *(const V*)(x + at.offset);
            for (Stored& e : v.at) e = Stored(normalized<T>(e, m, scale, shift, relu));
            *(V*)(y + at.offset) = v;
        }
    }, x, y);
}

// A part of gy, the same for all threads of its block; y may be null.
template <typename V, typename Stored>
__device__ void part_gradients(const Stored* __restrict__ gy, const Stored* __restrict__ x,
                               wide<Stored> mean, const Stored* __restrict__ y,
                               PartWalk<V::SIZE> at, int size, double* shared, double* sums,
                               double* products) {
    wide<Stored> sum = 0, product = 0;
#pragma unroll
    for (int k = 0; k < at.STEPS; ++k, at.next()) {
        if (at.number < size) {
            const V g = *(const V*)(gy + at.offset), v = *(const V*)(x + at.offset);
            V cut = {};
            if (y) cut = *(const V*)(y + at.offset);
            for (int e = 0; e < V::SIZE; ++e) {
                if (!y || cut.at[e] > 0) {
                    sum += g.at[e];
                    product += g.at[e] * (v.at[e] - mean);
                }
            }
        }
    }
    const double part_sum = block_sum(sum, shared);
    const double part_product = block_sum(product, shared);
    if (threadIdx.x == 0) {
        *sums = part_sum;
        *products = part_product;
    }
}

// A block a part.
template <typename Stored>
__global__ void batch_norm_grad_parts(const Stored* __restrict__ gy, const Stored* __restrict__ x,
                                      const wide<Stored>* __restrict__ mean,
                                      const Stored* __restrict__ y, double* __restrict__ sums,
                                      double* __restrict__ products, int channels, i64 pixels,
                                      i64 count, int parts) {
    __shared__ double shared[PART_THREADS];
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    by_groups<Stored>(pixels, [=](auto v) {
        const PartWalk<v.SIZE> at(channels, pixels, channel, part);
        part_gradients<decltype(v)>(gy, x, mean[channel], y, at, part_size(part, count), shared,
                                    sums + blockIdx.x, products + blockIdx.x);
    }, gy, x, y);
}

// What a channel has besides its pixels.
template <typename T>
struct Channel {
    T mean, invstd, weight, sum_gy, sum_gy_xhat, share;
};

// Of the elements from i on; y may be null. channel(e) is that of the next one, e.
template <typename V, typename Stored, typename Of>
__device__ V input_gradients(const Stored* __restrict__ gy, const Stored* __restrict__ x,
                             const Stored* __restrict__ y, i64 i, Of channel) {
    using T = wide<Stored>;
    V g = *(const V*)(gy + i), cut = {};
    const V v = *(const V*)(x + i);
    if (y) cut = *(const V*)(y + i);
    for (int e = 0; e < V::SIZE; ++e) {
        const Channel<T> of = channel(e);
        const T own = !y || cut.at[e] > 0 ? T(g.at[e]) : T(0);
        const T xhat = (v.at[e] - of.mean) * of.invstd;
        const T rest = own - of.share * (of.sum_gy + xhat * of.sum_gy_xhat);
        g.at[e] = Stored(of.weight * of.invstd * rest);
    }
    return g;
}

template <typename Stored>
__global__ void batch_norm_grad(const Stored* __restrict__ gy, const Stored* __restrict__ x,
                                const wide<Stored>* __restrict__ mean,
                                const wide<Stored>* __restrict__ invstd,
                                const wide<Stored>* __restrict__ weight,
                                const wide<Stored>* __restrict__ sum_gy,
                                const wide<Stored>* __restrict__ sum_gy_xhat,
                                const Stored* __restrict__ y, Stored* __restrict__ gx,
                                wide<Stored> share, int channels, i64 pixels, i64 count) {
    const bool vectors = aligned(gy) && aligned(x) && aligned(y) && aligned(gx);
    for_each_vector<Stored>(count, vectors, [=](i64 i, auto v) {
        const auto channel = [=](int c) -> Channel<wide<Stored>> {
            return {mean[c], invstd[c], weight[c], sum_gy[c], sum_gy_xhat[c], share};
        };
        Channels of(i, channels, pixels);
        auto own = channel(of.now);
        using V = decltype(v);
        *(V*)(gx + i) = input_gradients<V>(gy, x, y, i, [&](int e) {
            if (of.begins(e)) own = channel(of.now);
            return own;
        });
    });
}

// A block a channel, of at most WHOLE parts.
template <typename Stored>
__global__ void batch_norm_grad_whole(const Stored* __restrict__ gy, const Stored* __restrict__ x,
                                      const wide<Stored>* __restrict__ mean,
                                      const wide<Stored>* __restrict__ invstd,
                                      const wide<Stored>* __restrict__ weight,
                                      const Stored* __restrict__ y, Stored* __restrict__ gx,
                                      wide<Stored>* __restrict__ sum_gy,
                                      wide<Stored>* __restrict__ sum_gy_xhat, wide<Stored> share,
                                      int channels, i64 pixels, i64 count, int parts) {
    using T = wide<Stored>;
    __shared__ double shared[PART_THREADS], sums[WHOLE], products[WHOLE];
    const int c = blockIdx.x;
    const T m = mean[c], s = invstd[c], w = weight[c];
    by_groups<Stored>(pixels, [&](auto v) {
        using V = decltype(v);
        for (int part = 0; part < parts; ++part)
            part_gradients<V>(gy, x, m, y, PartWalk<v.SIZE>(channels, pixels, c, part),
                              part_size(part, count), shared, sums + part, products + part);
        __syncthreads();
        const T sum = (T)parts_sum(sums, parts, shared);
        const T product = (T)(parts_sum(products, parts, shared) * s);
        if (threadIdx.x == 0) {
            sum_gy[c] = sum;
            sum_gy_xhat[c] = product;
        }
        const Channel<T> of{m, s, w, sum, product, share};
        for (PartWalk<v.SIZE> at(channels, pixels, c, 0); at.number < (int)count; at.next())
            *(V*)(gx + at.offset) = input_gradients<V>(gy, x, y, at.offset, [=](int) { return of; });
    }, gy, x, y, gx);
}
