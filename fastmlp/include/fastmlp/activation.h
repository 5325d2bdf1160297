/* Elementwise activations a = g(z) as native functions, for fastmlp; C11 and C++, no other header of fastmlp or Python.

   A kernel is a pair of functions for float, a pair for double, or both. fastmlp calls them inside its parallel region,
   on pieces of its arrays, in any order and from many threads at once. So a function
   - works on n >= 0 elements; arrays are aligned as their type is, and no more;
   - gives each element bits that depend on that element and `params` alone, not on its place or on n: a loop whose
     last elements take another path (as with -ffast-math) doesn't;
   - changes nothing but its output; `a` may be `z`, `dz` may be `da`, no arrays overlap otherwise;
   - doesn't throw, block, allocate, keep state, use Python or the GIL, or change the floating-point environment.
   `params` are the numbers named by NativeKernel(params=...), in that order; with none it may be NULL.

   Give Python a capsule named FASTMLP_ACTIVATION_CAPSULE of a struct that lives as long as the capsule:

       static fastmlp_activation swish = FASTMLP_ACTIVATION(swish_f32, d_swish_f32, swish_f64, d_swish_f64);
       PyCapsule_New(&swish, FASTMLP_ACTIVATION_CAPSULE, NULL);

   Stability: within ABI 1 the fields below keep their meaning and place, and new ones are appended: `size` tells a newer
   fastmlp which ones there are. A change that breaks this gets another ABI and another name of the capsule. */

#ifndef FASTMLP_ACTIVATION_H
#define FASTMLP_ACTIVATION_H

#include <stddef.h>
#include <stdint.h>

#define FASTMLP_ACTIVATION_ABI 1
#define FASTMLP_ACTIVATION_CAPSULE "fastmlp.activation.v1"

#ifdef __cplusplus
extern "C" {
#endif

/* a = g(z) */
typedef void (*fastmlp_forward_f32)(const float *z, float *a, ptrdiff_t n, const double *params);
typedef void (*fastmlp_forward_f64)(const double *z, double *a, ptrdiff_t n, const double *params);

/* dz = da g'(z), where a = g(z) */
typedef void (*fastmlp_backward_f32)(const float *z, const float *a, const float *da, float *dz, ptrdiff_t n,
                                     const double *params);
typedef void (*fastmlp_backward_f64)(const double *z, const double *a, const double *da, double *dz, ptrdiff_t n,
                                     const double *params);

typedef struct fastmlp_activation {
    uint32_t abi;  /* FASTMLP_ACTIVATION_ABI */
    uint32_t size; /* sizeof(fastmlp_activation), where it was compiled */
    /* A type without a kernel has NULL for both. */
    fastmlp_forward_f32 forward_f32;
    fastmlp_backward_f32 backward_f32;
    fastmlp_forward_f64 forward_f64;
    fastmlp_backward_f64 backward_f64;
} fastmlp_activation;

/* Initializer of the struct. */
#define FASTMLP_ACTIVATION(forward_f32, backward_f32, forward_f64, backward_f64) \
    {FASTMLP_ACTIVATION_ABI, (uint32_t)sizeof(fastmlp_activation), forward_f32, backward_f32, forward_f64, backward_f64}

#ifdef __cplusplus
}
#endif

#endif
