/* What somebody who knows C writes for an activation: branch-free loops that compilers turn into vectors. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* e^x by 2^k (1 + p(r)); the coefficients are Taylor's, enough for |r| <= ln(2) / 2 in float. */
static inline float power_of_e(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float k = x * 1.442695041f + 12582912.0f;
    int32_t n;
    memcpy(&n, &k, sizeof n);
    k -= 12582912.0f;
    float r = x - k * 0.693145752f - k * 1.42860677e-6f, scale;
    float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)))));
    n = (int32_t)((uint32_t)(n + 127) << 23);
    memcpy(&scale, &n, sizeof scale);
    return p * scale;
}
static inline float sigmoid(float x) { return 1.0f / (1.0f + power_of_e(-x)); }
static inline float tangent(float x) { return 1.0f - 2.0f / (1.0f + power_of_e(2.0f * x)); }

#define ACTIVATION(name, VALUE, SLOPE)                                                                                 \
    void name##_forward(const float *z, float *a, ptrdiff_t n, const double *params) {                                 \
        (void)params;                                                                                                  \
        for (ptrdiff_t i = 0; i < n; i++) { float x = z[i]; a[i] = x != x ? x : VALUE(x); }                            \
    }                                                                                                                  \
    void name##_backward(const float *z, const float *a, const float *da, float *dz, ptrdiff_t n, const double *params) { \
        (void)params, (void)a;                                                                                         \
        for (ptrdiff_t i = 0; i < n; i++) { float x = z[i]; dz[i] = x != x ? x : da[i] * SLOPE(x); }                   \
    }

static inline float swish(float x) { return x * sigmoid(x); }
static inline float swish_slope(float x) { float s = sigmoid(x); return s + x * s * (1.0f - s); }
ACTIVATION(swish, swish, swish_slope)

static inline float inner(float x) { return 0.797884561f * (x + 0.044715f * x * x * x); }
static inline float gelu(float x) { return 0.5f * x * (1.0f + tangent(inner(x))); }
static inline float gelu_slope(float x) {
    float t = tangent(inner(x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.797884561f * (1.0f + 0.134145f * x * x);
}
ACTIVATION(gelu, gelu, gelu_slope)

/* tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2), which is 1 long before e^2 overflows */
static inline float of_softplus(float e) { float w = e * (e + 2.0f); return w / (w + 2.0f); }
static inline float bounded(float x) { return power_of_e(x > 20.0f ? 20.0f : x); }
static inline float mish(float x) { return x * of_softplus(bounded(x)); }
static inline float mish_slope(float x) {
    float e = bounded(x), t = of_softplus(e);
    return t + x * (1.0f - t * t) * (e / (1.0f + e));
}
ACTIVATION(mish, mish, mish_slope)
