// The C code that all native programs share: functions of one number, matrix products, tiles of
// examples. Results do not depend on memory addresses or on the number of steps per call, because
// numbers are always added in the same order.
#include <math.h>
#include <stdint.h>
#include <string.h>
#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

struct call {
    void **parameters, **buffers, **constants, **columns, **states;
    float **counts;
    const int64_t *index, *sizes;
    const double *numbers;
    double *told;
    char *space;
    int64_t n_steps, largest, first_step;
    uint64_t seed;
    double clip;
};

// ---- Memory: every array starts at a cache line (64 bytes).
#define SPACE(type, n) (((int64_t)sizeof(type) * (n) + 127) / 64 * 64)
#define TAKE(type, n) ((type *)taken(&space, sizeof(type) * (n), SPACE(type, n)))
#ifdef __SANITIZE_ADDRESS__  // scripts/sanitized: report access beyond an array's end
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)
#define ASAN_UNPOISON_MEMORY_REGION(at, size)
#endif
static char *taken(char **space, int64_t used, int64_t whole) {
    char *at = (char *)(((uintptr_t)*space + 63) / 64 * 64);
    ASAN_UNPOISON_MEMORY_REGION(at, whole);
    ASAN_POISON_MEMORY_REGION(at + used, whole - used);
    *space = at + whole;
    return at;
}

// ---- Treat numbers below 1e-38 as 0, because they make a processor several times slower. An
// optimizer's averages reach this range when gradients remain 0.
static unsigned flush_tiny(void) {
#ifdef __SSE__
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | 0x8040);
    return before;
#else
    return 0;
#endif
}
static void restore(unsigned before) {
#ifdef __SSE__
    __builtin_ia32_ldmxcsr(before);
#endif
    (void)before;
}

// ---- Tiles: a batch is divided into equal tiles, each a multiple of 8 examples.
static long rows_of_tile(long B, long tile) {
    const long n = B <= tile + tile / 2 ? 1 : (B + tile - 1) / tile;
    return n == 1 ? B : ((B + n - 1) / n + 7) / 8 * 8;
}
static long most_in_tile(long most, long tile) {
    const long room = tile + tile / 2 + 8;
    return most < room ? most : room;
}

// ---- Functions of one number, without branches, so that loops over them use whole vectors.
INLINE float exp_of(float x) {  // Cephes' expf, exact to 2 units in the last place
    const float n = __builtin_rintf((x < -100 ? -100 : x > 100 ? 100 : x) * 1.44269504088896341f);
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const float y = p * (r * r) + r + 1;
    const int32_t k = n != n ? 0 : (int32_t)n, half = k / 2;
    const int32_t bits[2] = {(half + 127) << 23, (k - half + 127) << 23};
    float low, high;
    memcpy(&low, &bits[0], 4);
    memcpy(&high, &bits[1], 4);
    return x > 88.8f ? INFINITY : x < -103.9f ? 0 : y * low * high;
}
INLINE float sigmoid_of(float x) { return 1 / (1 + exp_of(-x)); }
INLINE float tanh_of(float x) {
    const float a = fabsf(x), s = x * x;
    float p = -5.70498872745e-3f;
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    const float small = p * s * x + x;
    const float large = copysignf(1 - 2 / (exp_of(2 * a) + 1), x);
    return a < 0.625f ? small : x != x ? x : large;
}
INLINE float erf_of(float x) {  // N. Juffa's erff, exact to 1 unit in the last place
    const float t = fabsf(x), s = x * x;
    float r = -1.72853470e-5f * t + 3.83197126e-4f;
    const float u = -3.88396438e-3f * t + 2.42546219e-2f;
    r = r * s + u;
    r = r * t - 1.06777877e-1f;
    r = r * t - 6.34846687e-1f;
    r = r * t - 1.28717512e-1f;
    r = r * t - t;
    const float large = copysignf(1 - exp_of(r), x);
    float q = -5.96761703e-4f;
    q = q * s + 4.99119423e-3f;
    q = q * s - 2.67681349e-2f;
    q = q * s + 1.12819925e-1f;
    q = q * s - 3.76125336e-1f;
    q = q * s + 1.28379166e-1f;
    return t > 0.927734375f ? large : q * x + x;
}

// ---- Random numbers: each depends only on seed, step, draw and element, not on earlier draws.
// `mixed` is the finalizer of splitmix64 (Steele, Lea and Flood 2014).
INLINE uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
INLINE uint64_t noise_of(uint64_t seed, uint64_t step) { return mixed(seed + mixed(step)); }
INLINE float uniform_of(uint64_t noise, uint64_t draw, uint64_t element) {
    const uint64_t z = noise + draw * 0x9E3779B97F4A7C15u + element * 0xD1B54A32D192ED03u;
    return (float)(mixed(z) >> 40) * 0x1p-24f;
}

// ---- Indices: a value out of range sets `bad`, and is not used to read memory.
INLINE int64_t place_of(int64_t place, int64_t n, int *bad) {
    if (place >= 0 && place < n) return place;
    *bad = 1;
    return 0;
}

// ---- The sum of the squares of a gradient.
__attribute__((unused)) static double square_of(long n, const float *x) {
    double total = 0;
    for (long i = 0; i < n; i += 1024) {
        const long m = n - i < 1024 ? n - i : 1024;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (long j = 0; j < m; j++) part += x[i + j] * x[i + j];
        total += part;
    }
    return total;
}

// ---- Matrix products, computed in the widest vectors of the processor.
#if defined(__AVX512F__)
#define WIDTH 16
#define MANY 1  // there are 32 vector registers
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE __builtin_shufflevector
#else
typedef int32_t places4 __attribute__((vector_size(16)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (places4){__VA_ARGS__})
#endif
#define UNROLL _Pragma("GCC unroll 16")
#define FEW 6      // the most examples whose outer products are computed line by line
#define LINE 4096  // the most elements of an outer product's line that are computed at once
#define DEEP 256   // the most terms of a sum at once, so that a panel stays in the nearest cache
#define BROAD (2 * WIDTH)

// C = beta C + A B + bias for `m` lines of A and `w` vectors of B (lines `bk` apart).
INLINE void block(const int m, const int w, long K, const float *a, long am, long ak,
                  const float *b, long bk, float *c, long cm, long columns, const float *bias,
                  float beta) {
    vec sum[8][2];
    UNROLL for (int i = 0; i < m; i++)
        UNROLL for (int j = 0; j < w; j++) sum[i][j] = (vec){0};
    for (long k = 0; k < K; k++) {
        vec right[2];
        UNROLL for (int j = 0; j < w; j++) right[j] = *(const vec *)(b + k * bk + j * WIDTH);
        UNROLL for (int i = 0; i < m; i++) {
            const vec left = a[i * am + k * ak] - (vec){0};
            UNROLL for (int j = 0; j < w; j++) sum[i][j] += left * right[j];
        }
    }
    if (columns == w * WIDTH) {
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int j = 0; j < w; j++) {
                vec *to = (vec *)(c + i * cm + j * WIDTH);
                vec found = sum[i][j];
                if (beta != 0) found += *to * beta;
                if (bias) found += *(const vec *)(bias + j * WIDTH);
                *to = found;
            }
        return;
    }
    for (int i = 0; i < m; i++)
        for (long j = 0; j < columns; j++) {
            float found = ((const float *)sum[i])[j];
            if (beta != 0) found += c[i * cm + j] * beta;
            if (bias) found += bias[j];
            c[i * cm + j] = found;
        }
}

// Multiply all lines of A by a panel of B that is `columns` wide, at most 2 vectors.
#define LINES(m, w) \
    for (; i + m <= M; i += m) \
        block(m, w, K, a + i * am, am, ak, b, bk, c + i * cm, cm, columns, bias, beta)
static void panel(long M, long K, const float *a, long am, long ak, const float *b, long bk,
                  float *c, long cm, long columns, const float *bias, float beta) {
    long i = 0;
    if (columns > WIDTH) {
#ifdef MANY
        LINES(8, 2);
#endif
        LINES(4, 2);
        LINES(2, 2);
        LINES(1, 2);
    } else {
        LINES(8, 1);
        LINES(4, 1);
        LINES(1, 1);
    }
}
// Return the sums of the elements of four vectors.
INLINE vec4 sums(vec a, vec b, vec c, vec d) {
    vec4 part[4];
    const vec *all[4] = {&a, &b, &c, &d};
    UNROLL for (int i = 0; i < 4; i++) {
        const vec4 *quarter = (const vec4 *)all[i];
        part[i] = quarter[0];
        UNROLL for (int j = 1; j < WIDTH / 4; j++) part[i] += quarter[j];
    }
    const vec4 ab = SHUFFLE(part[0], part[1], 0, 4, 1, 5) +
                    SHUFFLE(part[0], part[1], 2, 6, 3, 7);
    const vec4 cd = SHUFFLE(part[2], part[3], 0, 4, 1, 5) +
                    SHUFFLE(part[2], part[3], 2, 6, 3, 7);
    return SHUFFLE(ab, cd, 0, 1, 4, 5) + SHUFFLE(ab, cd, 2, 3, 6, 7);
}

// Multiply `m` lines of A by 4 columns of B; in A and B the summed dimension is contiguous.
INLINE void dots(const int m, long K, const float *a, long am, const float *b, long bn, float *c,
                 long cm, const float *bias, float beta) {
    vec sum[6][4];
    UNROLL for (int i = 0; i < m; i++)
        UNROLL for (int j = 0; j < 4; j++) sum[i][j] = (vec){0};
    long k = 0;
    for (; k + WIDTH <= K; k += WIDTH) {
        vec right[4];
        UNROLL for (int j = 0; j < 4; j++) right[j] = *(const vec *)(b + j * bn + k);
        UNROLL for (int i = 0; i < m; i++) {
            const vec left = *(const vec *)(a + i * am + k);
            UNROLL for (int j = 0; j < 4; j++) sum[i][j] += left * right[j];
        }
    }
    UNROLL for (int i = 0; i < m; i++) {
        vec4 found = sums(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
        for (long q = k; q < K; q++)
            UNROLL for (int j = 0; j < 4; j++) found[j] += a[i * am + q] * b[j * bn + q];
        if (beta != 0) found += *(vec4 *)(c + i * cm) * beta;
        if (bias) found += *(const vec4 *)bias;
        *(vec4 *)(c + i * cm) = found;
    }
}

#define DOTS(m) \
    for (; i + m <= M; i += m) \
        dots(m, K, a + i * am, am, b + n * bn, bn, c + i * cm + n, cm, some, beta)
static void by_dots(long M, long N, long K, const float *a, long am, const float *b, long bn,
                    float *c, long cm, const float *bias, float beta) {
    long n = 0;
    for (; n + 4 <= N; n += 4) {
        const float *some = bias ? bias + n : 0;
        long i = 0;
#ifdef MANY
        DOTS(6);
        DOTS(4);
#endif
        DOTS(2);
        DOTS(1);
    }
    for (; n < N; n++)
        for (long i = 0; i < M; i++) {
            float found = 0;
            const float *x = a + i * am, *y = b + n * bn;
#pragma omp simd reduction(+ : found)
            for (long k = 0; k < K; k++) found += x[k] * y[k];
            if (beta != 0) found += c[i * cm + n] * beta;
            c[i * cm + n] = found + (bias ? bias[n] : 0);
        }
}

// Copy a panel of B, line after line, each padded with zeros to the panel's width.
static void packed(long K, long columns, const float *b, long bk, long bn, float *to) {
    const long width = columns > WIDTH ? BROAD : WIDTH;
    if (columns < width) memset(to, 0, sizeof(float) * K * width);
    long n = 0;
    if (bk == 1)
        for (; n + 4 <= columns; n += 4)
            for (long k = 0; k < K; k += 4) {
                if (k + 4 > K) {
                    for (long q = k; q < K; q++)
                        for (int j = 0; j < 4; j++) to[q * width + n + j] = b[(n + j) * bn + q];
                    break;
                }
                vec4 r[4];
                UNROLL for (int j = 0; j < 4; j++) r[j] = *(const vec4 *)(b + (n + j) * bn + k);
                const vec4 s = SHUFFLE(r[0], r[1], 0, 4, 1, 5);
                const vec4 t = SHUFFLE(r[2], r[3], 0, 4, 1, 5);
                const vec4 u = SHUFFLE(r[0], r[1], 2, 6, 3, 7);
                const vec4 v = SHUFFLE(r[2], r[3], 2, 6, 3, 7);
                float *at = to + k * width + n;
                *(vec4 *)at = SHUFFLE(s, t, 0, 1, 4, 5);
                *(vec4 *)(at + width) = SHUFFLE(s, t, 2, 3, 6, 7);
                *(vec4 *)(at + 2 * width) = SHUFFLE(u, v, 0, 1, 4, 5);
                *(vec4 *)(at + 3 * width) = SHUFFLE(u, v, 2, 3, 6, 7);
            }
    if (bn == 1 && columns == width) {
        for (long k = 0; k < K; k++)
            for (long j = 0; j < width; j += WIDTH)
                *(vec *)(to + k * width + j) = *(const vec *)(b + k * bk + j);
        return;
    }
    for (; n < columns; n++)
        for (long k = 0; k < K; k++) to[k * width + n] = b[k * bk + n * bn];
}

// C (M, N) = beta C + A B + bias. A and B have any strides, C has no gaps.
static void product(long M, long N, long K, const float *a, long am, long ak, const float *b,
                    long bk, long bn, const float *bias, float beta, float *c) {
    static __thread float pack[DEEP * BROAD] __attribute__((aligned(64)));
    // Adding up a vector takes time, so use dot products only for long sums and few lines of A.
    if (bk == 1 && ak == 1 && bn != 1 && M < 32 && K >= 8 * M) {
        by_dots(M, N, K, a, am, b, bn, c, N, bias, beta);
        return;
    }
    for (long k = 0; k < K || k == 0; k += DEEP) {
        const long deep = K - k < DEEP ? K - k : DEEP;
        const float *left = a + k * ak, *right = b + k * bk, *some = k ? 0 : bias;
        const float old = k ? 1 : beta;
        for (long n = 0; n < N; n += BROAD) {
            const long columns = N - n < BROAD ? N - n : BROAD;
            const float *from = right + n * bn;
            long apart = bk;
            if (bn != 1 || M >= 32 || (columns != BROAD && columns != WIDTH)) {
                packed(deep, columns, from, bk, bn, pack);
                from = pack;
                apart = columns > WIDTH ? BROAD : WIDTH;
            }
            panel(M, deep, left, am, ak, from, apart, c + n, N, columns, some ? some + n : 0, old);
        }
    }
}

// Compute one line of the sum of `K` outer products.
__attribute__((unused)) static void outer_line(long N, long K, const float *a, long ak,
                                               const float *b, long bk, long bn, float *line) {
    if (bn != 1) {
        for (long n = 0; n < N; n++) {
            float found = 0;
            for (long k = 0; k < K; k++) found += a[k * ak] * b[k * bk + n * bn];
            line[n] = found;
        }
        return;
    }
#pragma omp simd
    for (long n = 0; n < N; n++) line[n] = a[0] * b[n];
    for (long k = 1; k < K; k++) {
        const float factor = a[k * ak];
#pragma omp simd
        for (long n = 0; n < N; n++) line[n] += factor * b[k * bk + n];
    }
}

// ---- OH x OW windows (KH x KW, SH and SW apart) on C planes, H x W plus PH and PW zeros per side.
struct windows {
    long C, H, W, KH, KW, SH, SW, PH, PW, OH, OW;
};

INLINE long framed(const struct windows g) { return g.C * (g.H + 2 * g.PH) * (g.W + 2 * g.PW); }

// Copy a padded image x under all windows to cols (C KH KW, OH OW); if `back`, add cols to x.
INLINE void unfold(const struct windows g, const int back, float *x, float *cols) {
    const long W = g.W + 2 * g.PW, plane = (g.H + 2 * g.PH) * W;
    for (long c = 0; c < g.C; c++)
        for (long i = 0; i < g.KH; i++)
            for (long j = 0; j < g.KW; j++)
                for (long h = 0; h < g.OH; h++, cols += g.OW) {
                    float *at = x + c * plane + (h * g.SH + i) * W + j;
                    if (back) {
#pragma omp simd
                        for (long w = 0; w < g.OW; w++) at[w * g.SW] += cols[w];
                    } else {
#pragma omp simd
                        for (long w = 0; w < g.OW; w++) cols[w] = at[w * g.SW];
                    }
                }
}
INLINE const float *unfolded(const struct windows g, const float *x, float *cols, float *frame) {
    if (g.KH * g.KW == 1 && g.SH * g.SW == 1 && !g.PH && !g.PW) return x;
    if (g.PH || g.PW) {
        const long W = g.W + 2 * g.PW, plane = (g.H + 2 * g.PH) * W;
        memset(frame, 0, sizeof(float) * framed(g));
        for (long c = 0; c < g.C; c++)
            for (long h = 0; h < g.H; h++)
                memcpy(frame + c * plane + (h + g.PH) * W + g.PW, x + (c * g.H + h) * g.W,
                       sizeof(float) * g.W);
        x = frame;
    }
    unfold(g, 0, (float *)x, cols);
    return cols;
}

// Convolve `n` images with O filters: y (O, OH OW) = w (O, C KH KW) cols; gradients for x and w.
INLINE void convolve(const struct windows g, long n, long O, const float *x, const float *w,
                     float *cols, float *frame, float *y) {
    const long K = g.C * g.KH * g.KW, N = g.OH * g.OW;
    for (long e = 0; e < n; e++) {
        const float *right = unfolded(g, x + e * g.C * g.H * g.W, cols, frame);
        product(O, N, K, w, K, 1, right, N, 1, 0, 0, y + e * O * N);
    }
}
INLINE void convolve_back(const struct windows g, long n, long O, const float *up, const float *w,
                          float *cols, float *frame, float *dx) {
    const long K = g.C * g.KH * g.KW, N = g.OH * g.OW, W = g.W + 2 * g.PW;
    for (long e = 0; e < n; e++, dx += g.C * g.H * g.W) {
        float *to = g.PH || g.PW ? frame : dx;
        product(K, N, O, w, 1, K, up + e * O * N, N, 1, 0, 0, cols);
        memset(to, 0, sizeof(float) * framed(g));
        unfold(g, 1, to, cols);
        if (to == dx) continue;
        for (long c = 0; c < g.C; c++)
            for (long h = 0; h < g.H; h++)
                memcpy(dx + (c * g.H + h) * g.W,
                       frame + (c * (g.H + 2 * g.PH) + h + g.PH) * W + g.PW, sizeof(float) * g.W);
    }
}
INLINE void convolve_weights(const struct windows g, long n, long O, const float *up,
                             const float *x, float *cols, float *frame, float *dw) {
    const long K = g.C * g.KH * g.KW, N = g.OH * g.OW;
    for (long e = 0; e < n; e++) {
        const float *right = unfolded(g, x + e * g.C * g.H * g.W, cols, frame);
        product(O, K, N, up + e * O * N, N, 1, right, 1, N, 0, 1, dw);
    }
}

__attribute__((unused)) static void add_planes(long n, long O, long N, const float *up,
                                               float *db) {
    for (long e = 0; e < n * O; e++, up += N) {
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (long p = 0; p < N; p++) part += up[p];
        db[e % O] += part;
    }
}

// For each window, store the index in the plane of its first maximum, or of a NaN; g.C is 1.
INLINE void peak_places(const struct windows g, long n, const float *x, int64_t *places) {
    float peak[g.OW];
    int32_t at[g.OW];
    for (long e = 0; e < n; e++, x += g.H * g.W)
        for (long h = 0; h < g.OH; h++, places += g.OW) {
            for (long w = 0; w < g.OW; w++) peak[w] = -INFINITY, at[w] = -1;
            for (long i = 0; i < g.KH; i++)
                for (long j = 0; j < g.KW; j++) {
                    const long row = h * g.SH + i - g.PH, first = row * g.W + j - g.PW;
                    if (row < 0 || row >= g.H) continue;
#pragma omp simd
                    for (int32_t w = 0; w < g.OW; w++) {
                        const int32_t place = first + w * g.SW, column = w * g.SW + j - g.PW;
                        const int is_in = !g.PW || (column >= 0 && column < g.W);
                        const float found = is_in ? x[place] : -INFINITY;
                        const int is_more = is_in & ((found > peak[w]) | (found != found) | (at[w] < 0));
                        peak[w] = is_more ? found : peak[w];
                        at[w] = is_more ? place : at[w];
                    }
                }
            for (long w = 0; w < g.OW; w++) places[w] = at[w];
        }
}
// Copy the P elements at `places` of each of n planes (S elements); `put_back` adds up gradients.
__attribute__((unused)) static void picked(long S, long P, long n, const float *x,
                                           const int64_t *places, float *y) {
    for (long e = 0; e < n; e++, x += S, places += P, y += P)
        for (long p = 0; p < P; p++) y[p] = x[places[p]];
}
__attribute__((unused)) static void put_back(long S, long P, long n, const float *up,
                                             const int64_t *places, float *dx) {
    memset(dx, 0, sizeof(float) * n * S);
    for (long e = 0; e < n; e++, dx += S, places += P, up += P)
        for (long p = 0; p < P; p++) dx[places[p]] += up[p];
}
