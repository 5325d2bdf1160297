/* The C of the kernels, but for gemm_microkernel.h: one vector type per dtype, and what Cython can't spell.
 *
 * GCC/Clang vector extensions: `vf32` and `vf64` are as wide as the widest register of the instruction set that this
 * file is compiled for, so the same Cython source serves every level. Arithmetic on them is plain C (+ - * /), lane by
 * lane; comparisons are done here and give select masks. Nothing here depends on the position of a lane. */
#ifndef FASTMLP_SIMD_H
#define FASTMLP_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define VBYTES 64
#define MR 8
#define KC 256
#define UNROLL_ROWWISE 4
#elif defined(__AVX__)
#define VBYTES 32
#define MR 6
#define KC 400
#define UNROLL_ROWWISE 8
#else
#define VBYTES 16
#define MR 6
#define KC 400
#define UNROLL_ROWWISE 4
#endif
#define NV 2 /* vectors in a row of a tile: NR = NV * lanes */
#define TILE (MR * NV) /* registers that hold a tile */
/* KC: most steps of k in a block; a panel of b, KC x NR, stays in L1 or close to it.
 * UNROLL_*: steps of k that a loop over a tile takes at a time, by how `a` lies; more would spill registers. */
#define UNROLL_COLUMNWISE 4
#define MAX_LANES (VBYTES / 4)

/* Sizes as types: a fused type over these makes one body per size, with bounds that the compiler knows. */
typedef struct { char size[MR]; } rows_full;
typedef struct { char size[4]; } rows_4;
typedef struct { char size[2]; } rows_2;
typedef struct { char size[1]; } rows_1;
typedef struct { char size[NV]; } wide;
typedef struct { char size[1]; } narrow;
typedef struct { char size[UNROLL_ROWWISE]; } steps_rowwise;
typedef struct { char size[UNROLL_COLUMNWISE]; } steps_columnwise;
typedef struct { char size[1]; } steps_1;
/* And how `a` lies: k runs along its rows, or down its columns. */
typedef struct { char size[1]; } rowwise;
typedef struct { char size[2]; } columnwise;

/* `void` of a function that is not inlined, so that its loop has all registers to itself. Cython can't write attributes
 * of functions: these pass them on as return types. */
#define noinline_void __attribute__((noinline, unused)) void
/* `void` of a function that is always inlined. */
#define forceinline_void __attribute__((always_inline, unused)) void
/* `void` of a function that is neither inlined nor cloned for special arguments. */
#if defined(__clang__)
#define noclone_void __attribute__((noinline, unused)) void
#else
#define noclone_void __attribute__((noinline, noclone, unused)) void
#endif

#define FASTMLP_INLINE static inline __attribute__((always_inline, unused))
#define FASTMLP_NOINLINE static __attribute__((noinline, unused)) /* where inlining would take more room than it saves time */

/* One set of helpers per dtype, spelled once. T scalar, V vector, I and U integer vectors as wide, i the lane of I. */
#define FASTMLP_VECTOR(S, T, V, i, I, U)                                                                               \
    typedef T V __attribute__((vector_size(VBYTES)));                                                                  \
    typedef T V##_unaligned __attribute__((vector_size(VBYTES), aligned(sizeof(T)), may_alias));                       \
    typedef i I __attribute__((vector_size(VBYTES)));                                                                  \
    typedef u##i U __attribute__((vector_size(VBYTES)));                                                               \
    FASTMLP_INLINE V splat_##S(T x) { return x - (V){0}; }                                                             \
    FASTMLP_INLINE V load_##S(const T *p) { return *(const V##_unaligned *)p; }                                        \
    FASTMLP_INLINE void store_##S(T *p, V v) { *(V##_unaligned *)p = v; }                                              \
    FASTMLP_INLINE V bits_##S(I m) { V v; memcpy(&v, &m, sizeof v); return v; }                                        \
    FASTMLP_INLINE I ints_##S(V v) { I m; memcpy(&m, &v, sizeof m); return m; }                                        \
    /* c < d ? x : y by lane; a NaN takes y */                                                                         \
    FASTMLP_INLINE V if_less_##S(V c, V d, V x, V y) {                                                                 \
        I m = (I)(c < d);                                                                                              \
        return bits_##S((ints_##S(x) & m) | (ints_##S(y) & ~m));                                                       \
    }                                                                                                                  \
    /* c >= d ? x : y by lane; a NaN takes y */                                                                        \
    FASTMLP_INLINE V if_at_least_##S(V c, V d, V x, V y) {                                                             \
        I m = (I)(c >= d);                                                                                             \
        return bits_##S((ints_##S(x) & m) | (ints_##S(y) & ~m));                                                       \
    }                                                                                                                  \
    /* c has no sign and is no NaN ? x : y by lane */                                                                  \
    FASTMLP_INLINE V if_unsigned_##S(V c, V x, V y) {                                                                  \
        I m = (I)((U)ints_##S(c) <= (U)ints_##S(splat_##S((T)INFINITY)));                                              \
        return bits_##S((ints_##S(x) & m) | (ints_##S(y) & ~m));                                                       \
    }                                                                                                                  \
    /* c == d ? x : y by lane; a NaN takes y */                                                                        \
    FASTMLP_INLINE V if_equal_##S(V c, V d, V x, V y) {                                                                \
        I m = (I)(c == d);                                                                                             \
        return bits_##S((ints_##S(x) & m) | (ints_##S(y) & ~m));                                                       \
    }                                                                                                                  \
    /* the first n lanes of x, then y */                                                                               \
    FASTMLP_INLINE V first_n_##S(V x, ptrdiff_t n, V y) {                                                              \
        static const T lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};                              \
        return if_less_##S(load_##S(lane), splat_##S((T)n), x, y);                                                     \
    }                                                                                                                  \
    FASTMLP_INLINE V abs_##S(V x) { return bits_##S(ints_##S(x) & ~ints_##S(splat_##S((T)-0.0))); }                    \
    FASTMLP_INLINE V copysign_##S(V x, V s) {                                                                          \
        I sign = ints_##S(splat_##S((T)-0.0));                                                                         \
        return bits_##S((ints_##S(x) & ~sign) | (ints_##S(s) & sign));                                                 \
    }                                                                                                                  \
    /* the same of an x that has no sign yet */                                                                        \
    FASTMLP_INLINE V with_sign_##S(V x, V s) {                                                                         \
        return bits_##S(ints_##S(x) | (ints_##S(s) & ints_##S(splat_##S((T)-0.0))));                                   \
    }                                                                                                                  \
    FASTMLP_INLINE T lane_##S(V v, ptrdiff_t k) { return v[k]; }                                                       \
    FASTMLP_INLINE V with_lane_##S(V v, ptrdiff_t k, T x) { v[k] = x; return v; }

FASTMLP_VECTOR(f32, float, vf32, int32_t, vi32, vu32)
FASTMLP_VECTOR(f64, double, vf64, int64_t, vi64, vu64)

/* 64-bit lanes; the product of their lower halves. */
FASTMLP_INLINE vu64 splat_u64(uint64_t x) { return x - (vu64){0}; }
#if defined(__AVX512F__)
FASTMLP_INLINE vu64 product_u64(vu64 a, vu64 b) { return (vu64)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
FASTMLP_INLINE vu64 product_u64(vu64 a, vu64 b) { return (vu64)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#elif defined(__SSE2__) && !defined(__AVX__)
FASTMLP_INLINE vu64 product_u64(vu64 a, vu64 b) { return (vu64)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
FASTMLP_INLINE vu64 product_u64(vu64 a, vu64 b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif

/* max: y where x < y, else x; min: y where y < x, else x. A NaN in either gives x. One instruction, where x86. */
#if defined(__AVX512F__)
#define FASTMLP_EXTREME(op, S, V, C) FASTMLP_INLINE V op##_##S(V x, V y) { return (V)_mm512_##op##_p##C(y, x); }
#elif defined(__AVX__)
#define FASTMLP_EXTREME(op, S, V, C) FASTMLP_INLINE V op##_##S(V x, V y) { return (V)_mm256_##op##_p##C(y, x); }
#elif defined(__SSE2__)
#define FASTMLP_EXTREME(op, S, V, C) FASTMLP_INLINE V op##_##S(V x, V y) { return (V)_mm_##op##_p##C(y, x); }
#else
#define FASTMLP_EXTREME(op, S, V, C) FASTMLP_INLINE V op##_##S(V x, V y) { return FASTMLP_##op(if_less_##S, x, y); }
#define FASTMLP_max(if_less, x, y) if_less(x, y, y, x)
#define FASTMLP_min(if_less, x, y) if_less(y, x, y, x)
#endif
FASTMLP_EXTREME(max, f32, vf32, s) FASTMLP_EXTREME(max, f64, vf64, d)
FASTMLP_EXTREME(min, f32, vf32, s) FASTMLP_EXTREME(min, f64, vf64, d)

/* The root, rounded once; a number below 0 gives NaN. */
#if defined(__AVX512F__)
FASTMLP_INLINE vf32 sqrt_f32(vf32 x) { return (vf32)_mm512_sqrt_ps((__m512)x); }
FASTMLP_INLINE vf64 sqrt_f64(vf64 x) { return (vf64)_mm512_sqrt_pd((__m512d)x); }
#elif defined(__AVX__)
FASTMLP_INLINE vf32 sqrt_f32(vf32 x) { return (vf32)_mm256_sqrt_ps((__m256)x); }
FASTMLP_INLINE vf64 sqrt_f64(vf64 x) { return (vf64)_mm256_sqrt_pd((__m256d)x); }
#elif defined(__SSE2__)
FASTMLP_INLINE vf32 sqrt_f32(vf32 x) { return (vf32)_mm_sqrt_ps((__m128)x); }
FASTMLP_INLINE vf64 sqrt_f64(vf64 x) { return (vf64)_mm_sqrt_pd((__m128d)x); }
#else
FASTMLP_INLINE vf32 sqrt_f32(vf32 x) {
    for (int k = 0; k < (int)(VBYTES / sizeof(float)); k++) x[k] = sqrtf(x[k]);
    return x;
}
FASTMLP_INLINE vf64 sqrt_f64(vf64 x) {
    for (int k = 0; k < (int)(VBYTES / sizeof(double)); k++) x[k] = sqrt(x[k]);
    return x;
}
#endif

/* a * b + c, rounded once where the processor can; twice at x86-64-v2 (libm's fma would cost a call per lane). */
#if defined(__AVX512F__)
FASTMLP_INLINE vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return (vf32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
FASTMLP_INLINE vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return (vf64)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#elif defined(__FMA__)
FASTMLP_INLINE vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return (vf32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
FASTMLP_INLINE vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return (vf64)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#elif defined(__aarch64__)
FASTMLP_INLINE vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return (vf32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
FASTMLP_INLINE vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return (vf64)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#elif defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)
FASTMLP_INLINE vf32 fma_f32(vf32 a, vf32 b, vf32 c) {
    for (int k = 0; k < (int)(VBYTES / sizeof(float)); k++) c[k] = __builtin_fmaf(a[k], b[k], c[k]);
    return c;
}
FASTMLP_INLINE vf64 fma_f64(vf64 a, vf64 b, vf64 c) {
    for (int k = 0; k < (int)(VBYTES / sizeof(double)); k++) c[k] = __builtin_fma(a[k], b[k], c[k]);
    return c;
}
#else
FASTMLP_INLINE vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return a * b + c; }
FASTMLP_INLINE vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return a * b + c; }
#endif

/* The first n lanes (0 <= n <= lanes), the rest zero; nothing beyond them is read or written. */
#if defined(__AVX512F__)
FASTMLP_INLINE vf32 load_n_f32(const float *p, ptrdiff_t n) { return (vf32)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
FASTMLP_INLINE vf64 load_n_f64(const double *p, ptrdiff_t n) { return (vf64)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
FASTMLP_INLINE void store_n_f32(float *p, vf32 v, ptrdiff_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
FASTMLP_INLINE void store_n_f64(double *p, vf64 v, ptrdiff_t n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); }
#elif defined(__AVX2__)
FASTMLP_INLINE __m256i mask_f32(ptrdiff_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FASTMLP_INLINE __m256i mask_f64(ptrdiff_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), _mm256_setr_epi64x(0, 1, 2, 3));
}
FASTMLP_INLINE vf32 load_n_f32(const float *p, ptrdiff_t n) { return (vf32)_mm256_maskload_ps(p, mask_f32(n)); }
FASTMLP_INLINE vf64 load_n_f64(const double *p, ptrdiff_t n) { return (vf64)_mm256_maskload_pd(p, mask_f64(n)); }
/* by halves: a masked store is microcode on AMD before Zen 4 */
FASTMLP_NOINLINE void store_n_f32(float *p, vf32 v, ptrdiff_t n) {
    __m128 x = _mm256_castps256_ps128((__m256)v);
    if (n >= 8) { store_f32(p, v); return; }
    if (n & 4) { _mm_storeu_ps(p, x); x = _mm256_extractf128_ps((__m256)v, 1); p += 4; }
    if (n & 2) { _mm_storel_pi((__m64 *)p, x); x = _mm_movehl_ps(x, x); p += 2; }
    if (n & 1) _mm_store_ss(p, x);
}
FASTMLP_NOINLINE void store_n_f64(double *p, vf64 v, ptrdiff_t n) {
    __m128d x = _mm256_castpd256_pd128((__m256d)v);
    if (n >= 4) { store_f64(p, v); return; }
    if (n & 2) { _mm_storeu_pd(p, x); x = _mm256_extractf128_pd((__m256d)v, 1); p += 2; }
    if (n & 1) _mm_store_sd(p, x);
}
#else
#define FASTMLP_PARTIAL(S, T, V)                                                                                       \
    FASTMLP_NOINLINE V load_n_##S(const T *p, ptrdiff_t n) {                                                           \
        V v = {0};                                                                                                     \
        for (int k = 0; k < (int)(VBYTES / sizeof(T)); k++)                                                            \
            if (k < n) v[k] = p[k];                                                                                    \
        return v;                                                                                                      \
    }                                                                                                                  \
    FASTMLP_NOINLINE void store_n_##S(T *p, V v, ptrdiff_t n) {                                                        \
        for (int k = 0; k < (int)(VBYTES / sizeof(T)); k++)                                                            \
            if (k < n) p[k] = v[k];                                                                                    \
    }
FASTMLP_PARTIAL(f32, float, vf32)
FASTMLP_PARTIAL(f64, double, vf64)
#endif

/* The nearest integer k to x (|x| small). It is the low bits of x + magic; an add and a shift put it in the exponent field:
 * 2^k by lane. In unsigned numbers, here and below: lanes that a select will drop may overflow. */
#define MAGIC_F32 12582912.0f
#define MAGIC_F64 6755399441055744.0
FASTMLP_INLINE vf32 round_f32(vf32 x) { vf32 magic = splat_f32(MAGIC_F32); return (x + magic) - magic; }
FASTMLP_INLINE vf64 round_f64(vf64 x) { vf64 magic = splat_f64(MAGIC_F64); return (x + magic) - magic; }
FASTMLP_INLINE vf32 pow2_low_f32(vf32 x) {
    return bits_f32((vi32)(((vu32)ints_f32(x) - (vu32)ints_f32(splat_f32(MAGIC_F32)) + 127) << 23));
}
FASTMLP_INLINE vf64 pow2_low_f64(vf64 x) {
    return bits_f64((vi64)(((vu64)ints_f64(x) - (vu64)ints_f64(splat_f64(MAGIC_F64)) + 1023) << 52));
}
FASTMLP_INLINE vf32 pow2_f32(vf32 k) { return pow2_low_f32(k + splat_f32(MAGIC_F32)); }
FASTMLP_INLINE vf64 pow2_f64(vf64 k) { return pow2_low_f64(k + splat_f64(MAGIC_F64)); }
/* x 2^k rounded once, subnormal results too, for |x| near 1 and |k| up to twice the range of exponents: in two
 * steps, of which the first is exact */
#if defined(__AVX512F__)
FASTMLP_INLINE vf32 ldexp_f32(vf32 x, vf32 k) { return (vf32)_mm512_scalef_ps((__m512)x, (__m512)k); }
FASTMLP_INLINE vf64 ldexp_f64(vf64 x, vf64 k) { return (vf64)_mm512_scalef_pd((__m512d)x, (__m512d)k); }
#else
FASTMLP_INLINE vf32 ldexp_f32(vf32 x, vf32 k) {
    vu32 n = (vu32)ints_f32(k + splat_f32(MAGIC_F32)), half = n >> 1;
    return x * bits_f32((vi32)((half + 127) << 23)) * bits_f32((vi32)((n - half + 127) << 23));
}
FASTMLP_INLINE vf64 ldexp_f64(vf64 x, vf64 k) {
    vu64 n = (vu64)ints_f64(k + splat_f64(MAGIC_F64)), half = n >> 1;
    return x * bits_f64((vi64)((half + 1023) << 52)) * bits_f64((vi64)((n - half + 1023) << 52));
}
#endif
/* x 2^k for integers k by adding to the exponent field; x and the result normal, or a number that nobody looks at */
FASTMLP_INLINE vf32 scale_f32(vf32 x, vf32 k) {
    return bits_f32((vi32)((vu32)ints_f32(x) + ((vu32)ints_f32(k + splat_f32(MAGIC_F32)) << 23)));
}
FASTMLP_INLINE vf64 scale_f64(vf64 x, vf64 k) {
    return bits_f64((vi64)((vu64)ints_f64(x) + ((vu64)ints_f64(k + splat_f64(MAGIC_F64)) << 52)));
}
/* the integer k with x = 2^k m, m in [sqrt(1/2), sqrt(2)), for normal x > 0: the bits of sqrt(1/2) come off, and a bias
 * that keeps k + bias positive in the exponent field */
FASTMLP_INLINE vf32 exponent_f32(vf32 x) {
    vu32 n = ((vu32)ints_f32(x) + (0x40000000u - 0x3f3504f3u)) >> 23;
    return bits_f32(ints_f32(splat_f32(12582912.0f)) + (vi32)n) - splat_f32(12582912.0f + 128.0f);
}
FASTMLP_INLINE vf64 exponent_f64(vf64 x) {
    vu64 n = ((vu64)ints_f64(x) + (0x4000000000000000u - 0x3fe6a09e667f3bcdu)) >> 52;
    return bits_f64(ints_f64(splat_f64(6755399441055744.0)) + (vi64)n) - splat_f64(6755399441055744.0 + 1024.0);
}
/* whether c < d in any lane */
FASTMLP_INLINE int any_bit(const void *m) {
    uint64_t w[VBYTES / 8], any = 0;
    memcpy(w, m, sizeof w);
    for (int k = 0; k < VBYTES / 8; k++) any |= w[k];
    return any != 0;
}
FASTMLP_INLINE int any_less_f32(vf32 c, vf32 d) { vi32 m = (vi32)(c < d); return any_bit(&m); }
FASTMLP_INLINE int any_less_f64(vf64 c, vf64 d) { vi64 m = (vi64)(c < d); return any_bit(&m); }
/* lanes where the integer k has bit b set take x, the others y (quadrants of sin and cos) */
FASTMLP_INLINE vf32 if_bit_f32(vf32 k, int b, vf32 x, vf32 y) {
    vi32 n = ints_f32(k + splat_f32(MAGIC_F32)), m = (n & b) != 0;
    return bits_f32((ints_f32(x) & m) | (ints_f32(y) & ~m));
}
FASTMLP_INLINE vf64 if_bit_f64(vf64 k, int b, vf64 x, vf64 y) {
    vi64 n = ints_f64(k + splat_f64(MAGIC_F64)), m = (n & b) != 0;
    return bits_f64((ints_f64(x) & m) | (ints_f64(y) & ~m));
}

/* A square of lanes x lanes numbers, a vector a row, is transposed: blocks of 1, 2, 4, ... lanes swap places
 * (Eklundh, A fast computer method for matrix transposing, IEEE Trans. Comp. 1972). */
#define FASTMLP_SWAP(r, i, s, LOW, HIGH)                                                                               \
    do {                                                                                                               \
        __typeof__((r)[0]) a_ = (r)[i], b_ = (r)[(i) + (s)];                                                           \
        (r)[i] = __builtin_shufflevector(a_, b_, LOW);                                                                 \
        (r)[(i) + (s)] = __builtin_shufflevector(a_, b_, HIGH);                                                        \
    } while (0)
#define LOW_2_1 0, 2
#define HIGH_2_1 1, 3
#define LOW_4_1 0, 4, 2, 6
#define HIGH_4_1 1, 5, 3, 7
#define LOW_4_2 0, 1, 4, 5
#define HIGH_4_2 2, 3, 6, 7
#define LOW_8_1 0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_8_1 1, 9, 3, 11, 5, 13, 7, 15
#define LOW_8_2 0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_8_2 2, 3, 10, 11, 6, 7, 14, 15
#define LOW_8_4 0, 1, 2, 3, 8, 9, 10, 11
#define HIGH_8_4 4, 5, 6, 7, 12, 13, 14, 15
#define LOW_16_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_16_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define LOW_16_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_16_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_16_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_16_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_16_8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_16_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define FASTMLP_STAGE(r, W, s)                                                                                         \
    for (int i = 0; i < W; i++)                                                                                        \
        if (!(i & s)) FASTMLP_SWAP(r, i, s, LOW_##W##_##s, HIGH_##W##_##s)
#define FASTMLP_TRANSPOSE_2(r) FASTMLP_STAGE(r, 2, 1);
#define FASTMLP_TRANSPOSE_4(r) FASTMLP_STAGE(r, 4, 1); FASTMLP_STAGE(r, 4, 2);
#define FASTMLP_TRANSPOSE_8(r) FASTMLP_STAGE(r, 8, 1); FASTMLP_STAGE(r, 8, 2); FASTMLP_STAGE(r, 8, 4);
#define FASTMLP_TRANSPOSE_16(r)                                                                                        \
    FASTMLP_STAGE(r, 16, 1); FASTMLP_STAGE(r, 16, 2); FASTMLP_STAGE(r, 16, 4); FASTMLP_STAGE(r, 16, 8);
#if VBYTES == 64
FASTMLP_INLINE void transpose_f32(vf32 *r) { FASTMLP_TRANSPOSE_16(r) }
FASTMLP_INLINE void transpose_f64(vf64 *r) { FASTMLP_TRANSPOSE_8(r) }
#elif VBYTES == 32
FASTMLP_INLINE void transpose_f32(vf32 *r) { FASTMLP_TRANSPOSE_8(r) }
FASTMLP_INLINE void transpose_f64(vf64 *r) { FASTMLP_TRANSPOSE_4(r) }
#else
FASTMLP_INLINE void transpose_f32(vf32 *r) { FASTMLP_TRANSPOSE_4(r) }
FASTMLP_INLINE void transpose_f64(vf64 *r) { FASTMLP_TRANSPOSE_2(r) }
#endif

/* The sum (the maximum) of all lanes, in every lane: of pairs, of pairs of pairs, ... */
#define FASTMLP_PLUS(a, b) ((a) + (b))
#define FASTMLP_PAIRS(v, W, s, OP)                                                                                     \
    v = OP(__builtin_shufflevector(v, v, LOW_##W##_##s), __builtin_shufflevector(v, v, HIGH_##W##_##s));
#define FASTMLP_PAIRS_2(v, OP) FASTMLP_PAIRS(v, 2, 1, OP)
#define FASTMLP_PAIRS_4(v, OP) FASTMLP_PAIRS(v, 4, 1, OP) FASTMLP_PAIRS(v, 4, 2, OP)
#define FASTMLP_PAIRS_8(v, OP) FASTMLP_PAIRS(v, 8, 1, OP) FASTMLP_PAIRS(v, 8, 2, OP) FASTMLP_PAIRS(v, 8, 4, OP)
#define FASTMLP_PAIRS_16(v, OP)                                                                                        \
    FASTMLP_PAIRS(v, 16, 1, OP) FASTMLP_PAIRS(v, 16, 2, OP) FASTMLP_PAIRS(v, 16, 4, OP) FASTMLP_PAIRS(v, 16, 8, OP)
#define FASTMLP_ACROSS(S, V, W)                                                                                        \
    FASTMLP_INLINE V across_sum_##S(V v) { FASTMLP_PAIRS_##W(v, FASTMLP_PLUS) return v; }                              \
    FASTMLP_INLINE V across_max_##S(V v) { FASTMLP_PAIRS_##W(v, max_##S) return v; }
#if VBYTES == 64
FASTMLP_ACROSS(f32, vf32, 16) FASTMLP_ACROSS(f64, vf64, 8)
#elif VBYTES == 32
FASTMLP_ACROSS(f32, vf32, 8) FASTMLP_ACROSS(f64, vf64, 4)
#else
FASTMLP_ACROSS(f32, vf32, 4) FASTMLP_ACROSS(f64, vf64, 2)
#endif

/* Prefetch a cache line that will be written, or read. */
FASTMLP_INLINE void prefetch(const void *p) { __builtin_prefetch(p, 1, 3); }
FASTMLP_INLINE void prefetch_read(const void *p) { __builtin_prefetch(p, 0, 3); }

/* Return p, of which the compiler knows nothing any more: what is read from there is read here, and no earlier. */
FASTMLP_INLINE void *launder(void *p) {
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* The team of a parallel region, one thread where OpenMP is absent; and how many OpenMP allows the calling thread. */
#if defined(_OPENMP)
#include <omp.h>
FASTMLP_INLINE int team_size(void) { return omp_get_num_threads(); }
FASTMLP_INLINE int thread_id(void) { return omp_get_thread_num(); }
FASTMLP_INLINE int most_threads(void) { return omp_get_max_threads(); }
FASTMLP_INLINE size_t openmp_code(void) { return (size_t)omp_get_max_threads; }
FASTMLP_INLINE int has_openmp(void) { return 1; }
#else
FASTMLP_INLINE int team_size(void) { return 1; }
FASTMLP_INLINE int thread_id(void) { return 0; }
FASTMLP_INLINE int most_threads(void) { return 1 << 30; }
FASTMLP_INLINE size_t openmp_code(void) { return 0; }
FASTMLP_INLINE int has_openmp(void) { return 0; }
#endif

/* Add one, and return what it was before. */
FASTMLP_INLINE ptrdiff_t fetch_add(ptrdiff_t *p) { return __atomic_fetch_add(p, 1, __ATOMIC_RELAXED); }

/* A barrier that spins for some microseconds, then yields: OpenMP's own spins for milliseconds, and on a busy machine
 * keeps the thread that it waits for from running. */
#include <sched.h>
#define SPINS 1000
typedef struct {
    int arrived, phase;
} barrier_t;
FASTMLP_INLINE void relax(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
FASTMLP_INLINE void team_barrier(barrier_t *b, int team) {
    int phase = __atomic_load_n(&b->phase, __ATOMIC_ACQUIRE), spins = 0;
    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == team) {
        __atomic_store_n(&b->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&b->phase, __ATOMIC_ACQUIRE) == phase) {
        if (++spins < SPINS) relax();
        else sched_yield();
    }
}

/* Move this thread off a processor: a thread that was woken on the processor of the one that waits for it would run only
 * when that one's time slice ends, milliseconds later, while other processors are idle. It stays where there are fewer
 * processors than threads. */
#if defined(__linux__)
FASTMLP_INLINE int this_cpu(void) { return sched_getcpu(); }
FASTMLP_INLINE void leave_cpu(int cpu, int team) {
    cpu_set_t allowed, others;
    if (cpu < 0 || sched_getcpu() != cpu || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&allowed) < team || sched_setaffinity(0, sizeof others, &others)) return;
    sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
FASTMLP_INLINE int this_cpu(void) { return -1; }
FASTMLP_INLINE void leave_cpu(int cpu, int team) { (void)cpu, (void)team; }
#endif

/* Floating-point environment of a thread: round to nearest, subnormals kept, whatever the caller set. */
#if defined(__x86_64__)
FASTMLP_INLINE unsigned long enter_fp(void) { unsigned old = _mm_getcsr(); _mm_setcsr(0x1f80); return old; }
FASTMLP_INLINE void leave_fp(unsigned long old) { _mm_setcsr((unsigned)old); }
#elif defined(__aarch64__)
FASTMLP_INLINE unsigned long enter_fp(void) {
    unsigned long old, zero = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(zero));
    return old;
}
FASTMLP_INLINE void leave_fp(unsigned long old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
FASTMLP_INLINE unsigned long enter_fp(void) { return 0; }
FASTMLP_INLINE void leave_fp(unsigned long old) { (void)old; }
#endif
#endif
