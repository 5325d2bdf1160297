/* The micro-kernel in assembler: a tile of six or four rows by two vectors, for x86-64 with FMA and sixteen registers.
 *
 * Twelve sums, two vectors of b and a number of a leave one register free. What a compiler adds to the 20 instructions
 * of a step (pointers that move, sums that change places, registers that are saved around the loop) is a twentieth of a
 * long sum and a third of a short one. Other instruction sets, and GCC's sanitizers, which can't see into this, take the
 * loops of gemm_microkernel.pxd: the same operations in the same order. */
#ifndef FASTMLP_GEMM_MICROKERNEL_H
#define FASTMLP_GEMM_MICROKERNEL_H

#include "simd.h"

#if defined(__x86_64__) && defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__) &&                           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HAS_ASM 1
_Static_assert(MR == 6 && NV == 2 && VBYTES == 32, "the sums below are written for such a tile");

/* In the text, S is the suffix of a type, s or d; `at` its size; %[x] a number of a in all lanes, %[y0] and %[y1] a row
 * of b. */
#define ROW_4(OP, S, at, k) OP(S, at, k, "0") OP(S, at, k, "1") OP(S, at, k, "2") OP(S, at, k, "3")
#define ROW_6(OP, S, at, k) ROW_4(OP, S, at, k) OP(S, at, k, "4") OP(S, at, k, "5")
#define TIMES(S, number, r)                                                                                            \
    "vbroadcasts" S " " number ", %[x]\n\t"                                                                            \
    "vfmadd231p" S " %[y0], %[x], %[c" r "0]\n\t"                                                                      \
    "vfmadd231p" S " %[y1], %[x], %[c" r "1]\n\t"
#define OF_ROW(S, at, k, r) TIMES(S, k "*" at "(%[a" r "],%[k])", r)
#define OF_COLUMN(S, at, a, r) TIMES(S, r "*" at a, r)
#define ZERO(S, at, k, r)                                                                                              \
    "vxorp" S " %[c" r "0], %[c" r "0], %[c" r "0]\n\t"                                                                \
    "vxorp" S " %[c" r "1], %[c" r "1], %[c" r "1]\n\t"
#define ADD(S, at, k, r)                                                                                               \
    "vaddp" S " (%[before]), %[c" r "0], %[c" r "0]\n\t"                                                               \
    "vaddp" S " 32(%[before]), %[c" r "1], %[c" r "1]\n\t"                                                             \
    "add %[ldc], %[before]\n\t"

/* A step: a row of b, and a number of each row of a, or neighbours in a column of it. One alone, or eight. */
#define OF_B(S, row) "vmovup" S " " row ", %[y0]\n\tvmovup" S " 32" row ", %[y1]\n\t"
#define ROWWISE(EACH_ROW, S, at, k, row) OF_B(S, row) EACH_ROW(OF_ROW, S, at, k)
#define COLUMNWISE(EACH_ROW, S, at, a, row) OF_B(S, row) EACH_ROW(OF_COLUMN, S, at, a)
#define FOUR_B "lea (%[b],%[l],4), %[b]\n\t"
#define FOUR_ROWWISE(EACH_ROW, S, at, k0, k1, k2, k3)                                                                  \
    ROWWISE(EACH_ROW, S, at, k0, "(%[b])") ROWWISE(EACH_ROW, S, at, k1, "(%[b],%[l])")                                 \
    ROWWISE(EACH_ROW, S, at, k2, "(%[b],%[l],2)") ROWWISE(EACH_ROW, S, at, k3, "(%[b],%[l3])") FOUR_B
#define FOUR_COLUMNWISE(EACH_ROW, S, at)                                                                               \
    COLUMNWISE(EACH_ROW, S, at, "(%[a])", "(%[b])") COLUMNWISE(EACH_ROW, S, at, "(%[a],%[step])", "(%[b],%[l])")       \
    COLUMNWISE(EACH_ROW, S, at, "(%[a],%[step],2)", "(%[b],%[l],2)")                                                   \
    COLUMNWISE(EACH_ROW, S, at, "(%[a],%[step3])", "(%[b],%[l3])") "lea (%[a],%[step],4), %[a]\n\t" FOUR_B
#define ONE_ROWWISE(EACH_ROW, S, at) ROWWISE(EACH_ROW, S, at, "0", "(%[b])")
#define ONE_COLUMNWISE(EACH_ROW, S, at) COLUMNWISE(EACH_ROW, S, at, "(%[a])", "(%[b])") "add %[step], %[a]\n\t"
#define EIGHT_ROWWISE(EACH_ROW, S, at)                                                                                 \
    FOUR_ROWWISE(EACH_ROW, S, at, "0", "1", "2", "3") FOUR_ROWWISE(EACH_ROW, S, at, "4", "5", "6", "7")
#define EIGHT_COLUMNWISE(EACH_ROW, S, at) FOUR_COLUMNWISE(EACH_ROW, S, at) FOUR_COLUMNWISE(EACH_ROW, S, at)
/* Eight steps at a time, then one by one; %[k] runs up to 0, by `by` a step. `before` is added here as well: a branch
 * that the compiler sees between making sums and using them costs it a dozen moves. */
#define SUMS(ORDER, EACH_ROW, S, at, by)                                                                               \
    EACH_ROW(ZERO, S, at, "")                                                                                          \
    "jmp 2f\n"                                                                                                         \
    "1:\n\t" EIGHT_##ORDER(EACH_ROW, S, at)                                                                            \
    "add $8*" by ", %[k]\n"                                                                                            \
    "2:\n\t"                                                                                                           \
    "cmp $-8*" by ", %[k]\n\t"                                                                                         \
    "jle 1b\n\t"                                                                                                       \
    "test %[k], %[k]\n\t"                                                                                              \
    "je 4f\n"                                                                                                          \
    "3:\n\t" ONE_##ORDER(EACH_ROW, S, at)                                                                              \
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
#define IN_4(a)                                                                                                        \
    [a0] "r"(a + row_offsets[0]), [a1] "r"(a + row_offsets[1]), [a2] "r"(a + row_offsets[2]), [a3] "r"(a + row_offsets[3])
#define IN_6(a) IN_4(a), [a4] "r"(a + row_offsets[4]), [a5] "r"(a + row_offsets[5])

/* c = the sum over `depth` steps of a[row_offsets[r] + k] or a[k * stride + r] times row k of b (rows of ldb numbers),
 * plus what is at `before` (rows of ldc numbers), if it isn't NULL. The tile has six rows, or four. Six rows along their
 * length take 30 operands, which is all that GCC allows. */
#define ROWWISE_SUMS(N, S, at)                                                                                         \
    __asm__ volatile(SUMS(ROWWISE, ROW_##N, S, at, at)                                                                 \
                     : OUT_##N(c), [x] "=&x"(x), [y0] "=&x"(y0), [y1] "=&x"(y1), [k] "+&r"(k), [b] "+&r"(b),           \
                       [before] "+&r"(before)                                                                          \
                     : IN_##N(a), [l] "r"(ldb * size), [l3] "r"(3 * ldb * size), [ldc] "r"(ldc * size)                 \
                     : "memory", "cc")
#define COLUMNWISE_SUMS(N, S, at)                                                                                      \
    __asm__ volatile(SUMS(COLUMNWISE, ROW_##N, S, at, "1")                                                             \
                     : OUT_##N(c), [x] "=&x"(x), [y0] "=&x"(y0), [y1] "=&x"(y1), [k] "+&r"(k), [b] "+&r"(b),           \
                       [before] "+&r"(before), [a] "+&r"(a)                                                            \
                     : [step] "r"(stride * size), [step3] "r"(3 * stride * size), [l] "r"(ldb * size),                 \
                       [l3] "r"(3 * ldb * size), [ldc] "r"(ldc * size)                                                 \
                     : "memory", "cc")
#define FASTMLP_MICROKERNEL(S, T, V, s, at)                                                                            \
    FASTMLP_INLINE void microkernel_rowwise_##S(V *c, int rows, const T *a, const ptrdiff_t *row_offsets, ptrdiff_t depth, \
                                         const T *b, ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {                  \
        ptrdiff_t size = sizeof(T), k = -depth * size;                                                                 \
        V x, y0, y1;                                                                                                   \
        a += depth;                                                                                                    \
        if (rows == 6) ROWWISE_SUMS(6, s, at);                                                                         \
        else ROWWISE_SUMS(4, s, at);                                                                                   \
    }                                                                                                                  \
    FASTMLP_INLINE void microkernel_columnwise_##S(V *c, int rows, const T *a, ptrdiff_t stride, ptrdiff_t depth, const T *b, \
                                            ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {                           \
        ptrdiff_t size = sizeof(T), k = -depth;                                                                        \
        V x, y0, y1;                                                                                                   \
        if (rows == 6) COLUMNWISE_SUMS(6, s, at);                                                                      \
        else COLUMNWISE_SUMS(4, s, at);                                                                                \
    }
#else
#define HAS_ASM 0
#define FASTMLP_MICROKERNEL(S, T, V, s, at)                                                                            \
    FASTMLP_INLINE void microkernel_rowwise_##S(V *c, int rows, const T *a, const ptrdiff_t *row_offsets, ptrdiff_t depth, \
                                         const T *b, ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {                  \
        (void)c, (void)rows, (void)a, (void)row_offsets, (void)depth, (void)b, (void)ldb, (void)before, (void)ldc;     \
    }                                                                                                                  \
    FASTMLP_INLINE void microkernel_columnwise_##S(V *c, int rows, const T *a, ptrdiff_t stride, ptrdiff_t depth, const T *b, \
                                            ptrdiff_t ldb, const T *before, ptrdiff_t ldc) {                           \
        (void)c, (void)rows, (void)a, (void)stride, (void)depth, (void)b, (void)ldb, (void)before, (void)ldc;          \
    }
#endif
FASTMLP_MICROKERNEL(f32, float, vf32, "s", "4")
FASTMLP_MICROKERNEL(f64, double, vf64, "d", "8")
#endif
