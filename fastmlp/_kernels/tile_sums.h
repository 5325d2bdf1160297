/* The sums of a tile of six or four rows by two vectors of columns, by hand for x86-64 with FMA and sixteen registers.
 *
 * Twelve sums, two vectors of b and a number of a leave one register free. What a compiler adds to the 20 instructions of a
 * step (pointers that move, sums that change places, registers that are saved around the loop) is a tenth of a long sum and
 * half of a short one. Other instruction sets, and sanitizers, which can't see into this, take the loops of gemm.pyx: they
 * do the same operations in the same order. */
#ifndef FASTMLP_TILE_SUMS_H
#define FASTMLP_TILE_SUMS_H

#include "simd.h"

#if defined(__x86_64__) && defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__) &&                           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HAS_SUMS 1

/* In the text, S is the suffix of a type, s or d; `at` its size; %[x] a number of a in all lanes, %[y0] and %[y1] those of b. */
#define ROW_4(OP, S, at, k) OP(S, at, k, "0") OP(S, at, k, "1") OP(S, at, k, "2") OP(S, at, k, "3")
#define ROW_6(OP, S, at, k) ROW_4(OP, S, at, k) OP(S, at, k, "4") OP(S, at, k, "5")
#define TIMES(S, number, r)                                                                                            \
    "vbroadcasts" S " " number ", %[x]\n\t"                                                                            \
    "vfmadd231p" S " %[y0], %[x], %[c" r "0]\n\t"                                                                      \
    "vfmadd231p" S " %[y1], %[x], %[c" r "1]\n\t"
#define OF_ROW(S, at, k, r) TIMES(S, k "*" at "(%[a" r "],%[k])", r)
#define OF_COLUMN(S, at, k, r) TIMES(S, r "*" at "(%[a],%[i]," at ")", r)
#define ZERO(S, at, k, r)                                                                                              \
    "vxorp" S " %[c" r "0], %[c" r "0], %[c" r "0]\n\t"                                                                \
    "vxorp" S " %[c" r "1], %[c" r "1], %[c" r "1]\n\t"
#define ADD(S, at, k, r)                                                                                               \
    "vaddp" S " (%[before]), %[c" r "0], %[c" r "0]\n\t"                                                               \
    "vaddp" S " 32(%[before]), %[c" r "1], %[c" r "1]\n\t"                                                             \
    "add %[ldc], %[before]\n\t"

/* A step: a row of b, and a number of each row of a, or neighbours in a column of it. */
#define OF_B(S, row) "vmovup" S " " row ", %[y0]\n\tvmovup" S " 32" row ", %[y1]\n\t"
#define ROWWISE(EACH_ROW, S, at, k, row) OF_B(S, row) EACH_ROW(OF_ROW, S, at, k)
#define COLUMNWISE(EACH_ROW, S, at, k, row)                                                                            \
    OF_B(S, row) "mov " k "*8(%[steps],%[k]), %[i]\n\t" EACH_ROW(OF_COLUMN, S, at, k)
#define FOUR(STEP, EACH_ROW, S, at, k0, k1, k2, k3)                                                                    \
    STEP(EACH_ROW, S, at, k0, "(%[b])") STEP(EACH_ROW, S, at, k1, "(%[b],%[l])")                                       \
    STEP(EACH_ROW, S, at, k2, "(%[b],%[l],2)") STEP(EACH_ROW, S, at, k3, "(%[b],%[l3])") "lea (%[b],%[l],4), %[b]\n\t"
/* Eight steps at a time, then one by one; %[k] runs up to 0, by `by` bytes a step. The sums before are added in here as
 * well: a branch that the compiler sees between making sums and using them costs it a dozen moves. */
#define SUMS(STEP, EACH_ROW, S, at, by)                                                                                \
    EACH_ROW(ZERO, S, at, "")                                                                                          \
    "jmp 2f\n"                                                                                                         \
    "1:\n\t" FOUR(STEP, EACH_ROW, S, at, "0", "1", "2", "3") FOUR(STEP, EACH_ROW, S, at, "4", "5", "6", "7")           \
    "add $8*" by ", %[k]\n"                                                                                            \
    "2:\n\t"                                                                                                           \
    "cmp $-8*" by ", %[k]\n\t"                                                                                         \
    "jle 1b\n\t"                                                                                                       \
    "test %[k], %[k]\n\t"                                                                                              \
    "je 4f\n"                                                                                                          \
    "3:\n\t" STEP(EACH_ROW, S, at, "0", "(%[b])")                                                                      \
    "add %[l], %[b]\n\t"                                                                                               \
    "add $" by ", %[k]\n\t"                                                                                            \
    "jne 3b\n"                                                                                                         \
    "4:\n\t"                                                                                                           \
    "test %[before], %[before]\n\t"                                                                                    \
    "je 5f\n\t" EACH_ROW(ADD, S, at, "")                                                                               \
    "5:"
#define OUT_4(c)                                                                                                       \
    [c00] "=&x"(c[0]), [c01] "=&x"(c[1]), [c10] "=&x"(c[2]), [c11] "=&x"(c[3]), [c20] "=&x"(c[4]), [c21] "=&x"(c[5]),  \
    [c30] "=&x"(c[6]), [c31] "=&x"(c[7])
#define OUT_6(c) OUT_4(c), [c40] "=&x"(c[8]), [c41] "=&x"(c[9]), [c50] "=&x"(c[10]), [c51] "=&x"(c[11])
#define IN_4(a) [a0] "r"(a + starts[0]), [a1] "r"(a + starts[1]), [a2] "r"(a + starts[2]), [a3] "r"(a + starts[3])
#define IN_6(a) IN_4(a), [a4] "r"(a + starts[4]), [a5] "r"(a + starts[5])

/* c = the sum of `depth` steps, a[starts[r] + k] or a[steps[k] + r] times row k of b, ldb numbers from the next; and of what
 * was there `before`, rows of ldc numbers, if it isn't NULL. */
#define FASTMLP_SUMS(N, S, T, V, s, at)                                                                                \
    FASTMLP_INLINE void sums_rowwise_##N##_##S(V *c, const T *a, const ptrdiff_t *starts, ptrdiff_t depth, const T *b, \
                                               ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {                        \
        ptrdiff_t size = sizeof(T), k = -depth * size;                                                                 \
        V x, y0, y1;                                                                                                   \
        a += depth;                                                                                                    \
        __asm__ volatile(SUMS(ROWWISE, ROW_##N, s, at, at)                                                             \
                         : OUT_##N(c), [x] "=&x"(x), [y0] "=&x"(y0), [y1] "=&x"(y1), [k] "+r"(k), [b] "+r"(b),         \
                           [before] "+r"(before)                                                                       \
                         : IN_##N(a), [l] "r"(ldb * size), [l3] "r"(3 * ldb * size), [ldc] "r"(ldc * size)             \
                         : "memory", "cc");                                                                            \
    }                                                                                                                  \
    FASTMLP_INLINE void sums_columnwise_##N##_##S(V *c, const T *a, const ptrdiff_t *steps, ptrdiff_t depth,           \
                                                  const T *b, ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {         \
        ptrdiff_t i, size = sizeof(T), k = -depth * 8;                                                                 \
        V x, y0, y1;                                                                                                   \
        __asm__ volatile(SUMS(COLUMNWISE, ROW_##N, s, at, "8")                                                         \
                         : OUT_##N(c), [x] "=&x"(x), [y0] "=&x"(y0), [y1] "=&x"(y1), [k] "+r"(k), [b] "+r"(b),         \
                           [before] "+r"(before), [i] "=&r"(i)                                                         \
                         : [a] "r"(a), [steps] "r"(steps + depth), [l] "r"(ldb * size), [l3] "r"(3 * ldb * size),      \
                           [ldc] "r"(ldc * size)                                                                       \
                         : "memory", "cc");                                                                            \
    }
#else
#define HAS_SUMS 0
#define FASTMLP_SUMS(N, S, T, V, s, at)                                                                                \
    FASTMLP_INLINE void sums_rowwise_##N##_##S(V *c, const T *a, const ptrdiff_t *starts, ptrdiff_t depth, const T *b, \
                                               ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {                        \
        (void)c, (void)a, (void)starts, (void)depth, (void)b, (void)ldb, (void)before, (void)ldc;                      \
    }                                                                                                                  \
    FASTMLP_INLINE void sums_columnwise_##N##_##S(V *c, const T *a, const ptrdiff_t *steps, ptrdiff_t depth,           \
                                                  const T *b, ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {         \
        (void)c, (void)a, (void)steps, (void)depth, (void)b, (void)ldb, (void)before, (void)ldc;                       \
    }
#endif
FASTMLP_SUMS(6, f32, float, vf32, "s", "4")
FASTMLP_SUMS(4, f32, float, vf32, "s", "4")
FASTMLP_SUMS(6, f64, double, vf64, "d", "8")
FASTMLP_SUMS(4, f64, double, vf64, "d", "8")
#endif
