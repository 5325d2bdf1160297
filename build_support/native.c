/* A native activation for the sanitizers: swish, z / (1 + e^(-beta z)). */
#include <math.h>

#include "fastmlp/activation.h"

#define PAIR(T, suffix, EXP)                                                                                           \
    void forward_##suffix(const T *z, T *a, ptrdiff_t n, const double *params) {                                       \
        const T beta = (T)params[0];                                                                                   \
        for (ptrdiff_t i = 0; i < n; i++) a[i] = z[i] / (1 + EXP(-beta * z[i]));                                       \
    }                                                                                                                  \
    void backward_##suffix(const T *z, const T *a, const T *da, T *dz, ptrdiff_t n, const double *params) {            \
        const T beta = (T)params[0];                                                                                   \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                            \
            const T s = 1 / (1 + EXP(-beta * z[i]));                                                                   \
            dz[i] = da[i] * (s + beta * a[i] * (1 - s));                                                               \
        }                                                                                                              \
    }
PAIR(float, float32, expf)
PAIR(double, float64, exp)
