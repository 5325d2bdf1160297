"""The functions of `elementary.pxd` over a run of numbers, for tests: faces, as those of `faces.pyx`."""
from .simd cimport lanes, load_n, real, splat_f32, splat_f64, store_n, vec

cdef enum:
    EXP, EXPM1, LOG, LOG1P, SIGMOID, TANH, ERF, SIN, COS, SINH, COSH, ARCTAN, ARCSINH

ELEMENTARY = {
    "exp": EXP, "expm1": EXPM1, "log": LOG, "log1p": LOG1P, "sigmoid": SIGMOID, "tanh": TANH, "erf": ERF, "sin": SIN,
    "cos": COS, "sinh": SINH, "cosh": COSH, "arctan": ARCTAN, "arcsinh": ARCSINH,
}


cdef inline vec value(int which, vec x) noexcept nogil:
    if which == EXP:
        return vexp(x)
    elif which == EXPM1:
        return vexpm1(x)
    elif which == LOG:
        return vlog(x)
    elif which == LOG1P:
        return vlog1p(x)
    elif which == SIGMOID:
        return vsigmoid(x)
    elif which == TANH:
        return vtanh(x)
    elif which == ERF:
        return verf(x)
    elif which == SIN:
        return vsin(x)
    elif which == COS:
        return vcos(x)
    elif which == SINH:
        return vsinh(x)
    elif which == COSH:
        return vcosh(x)
    elif which == ARCTAN:
        return vatan(x)
    return vasinh(x)


cdef inline void run(int which, const real *x, const real *exponent, real *y, Py_ssize_t n, vec like) noexcept nogil:
    """A power where there is an exponent."""
    cdef Py_ssize_t W = lanes(like), i = 0, m
    cdef vec v
    while i < n:
        m = min(W, n - i)
        v = load_n(x + i, m, like)
        v = value(which, v) if exponent == NULL else vpow(v, load_n(exponent + i, m, like))
        store_n(y + i, v, m)
        i += W


cdef void choose(int which, const real *x, const real *exponent, real *y, Py_ssize_t n) noexcept nogil:
    if real is float:
        run(which, x, exponent, y, n, splat_f32(0))
    else:
        run(which, x, exponent, y, n, splat_f64(0))


def elementary(int which, const real[::1] x, real[::1] y):
    """y = f(x), for the function f of that number in ELEMENTARY."""
    if x.shape[0] != y.shape[0] or not 0 <= which < len(ELEMENTARY):
        raise ValueError("x and y differ in length, or there is no such function")
    if x.shape[0]:
        choose(which, &x[0], <const real *> NULL, &y[0], x.shape[0])


def elementary_power(const real[::1] x, const real[::1] exponent, real[::1] y):
    """y = x^exponent."""
    if not x.shape[0] == exponent.shape[0] == y.shape[0]:
        raise ValueError("lengths differ")
    if x.shape[0]:
        choose(0, &x[0], &exponent[0], &y[0], x.shape[0])
