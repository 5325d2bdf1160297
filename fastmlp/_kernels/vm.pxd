"""Elementwise programs, and activations without a kernel: programs, or native functions."""
from libc.stdint cimport int32_t

from .simd cimport real

cdef enum:
    BLOCK = 64           # vectors that go through the whole program at a time, at most
    INPUTS = 8
    OUTPUTS = 4
    UNIFORMS = 64
    REGISTERS = 16
    SLOTS = 92           # of all four

cdef struct instruction_t:
    # Operands are slots: inputs, then uniforms, then registers, then outputs.
    int32_t code, out, x, y, u, v

cdef struct program_t:
    Py_ssize_t inputs, scalars, uniforms, registers, outputs
    Py_ssize_t n                     # instructions over blocks
    const instruction_t *code
    Py_ssize_t n_first               # instructions over uniforms, once a run, in double
    const instruction_t *first
    const double *values             # of uniforms: room for the scalars of a run, then constants
    const void *vectors              # the uniforms as vectors, where they are the same in every run, else NULL

ctypedef void (*native_forward_t)(const void *, void *, Py_ssize_t, const double *) noexcept nogil
ctypedef void (*native_backward_t)(const void *, const void *, const void *, void *, Py_ssize_t,
                                   const double *) noexcept nogil

cdef struct extension_t:
    # an activation without a kernel, in one dtype: programs (z) -> a and (z, a, da) -> dz, or native functions
    const program_t *forward
    const program_t *backward
    native_forward_t native_forward
    native_backward_t native_backward
    const double *params

cdef void run_program(const program_t *p, const real **inputs, real **outputs, Py_ssize_t n,
                      const double *scalars) noexcept nogil
cdef void extension_forward(const extension_t *g, const real *z, real *a, Py_ssize_t n) noexcept nogil
cdef void extension_backward(const extension_t *g, const real *z, const real *a, const real *da, real *dz,
                             Py_ssize_t n) noexcept nogil
