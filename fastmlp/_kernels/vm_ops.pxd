"""The instructions of elementwise programs, each over a block of vectors."""
from .simd_elementary cimport (
    log1p_finite, vasinh, vatan, vcos, vcosh, verf, vexp, vexpm1, vlog, vlog1p, vpow, vsigmoid, vsin, vsinh, vtanh
)
from .simd cimport (
    fma, if_at_least, if_equal, if_less, lanes, load, real, splat, store, vabs, vcopysign, vec, vf32, vmax, vmin,
    vsqrt
)

cdef enum:
    COPY
    # of two operands
    ADD
    SUB
    MUL
    DIV
    MAX
    MIN
    POW
    LESS                 # 1 or 0, as the next two
    AT_LEAST
    EQUAL
    COPYSIGN
    # of three and four
    FMA                  # x y + u
    FMS                  # x y - u
    FNMA                 # u - x y
    SELECT               # y where x is not 0, else u
    IF_LESS              # u where x < y, else v
    IF_AT_LEAST
    IF_EQUAL
    # of one
    NEG
    ABS
    SQRT
    ROUND
    EXP
    EXPM1
    LOG
    LOG1P
    TANH
    SIGMOID
    SIN
    COS
    ERF
    SINH
    COSH
    ARCTAN
    ARCSINH
    SOFTPLUS             # log(1 + exp(x))
    SIGN                 # NaN and zeros stay
    N_CODES


cdef inline int operands(int code) noexcept nogil:
    """Return how many operands an instruction has."""
    if code in (ADD, SUB, MUL, DIV, MAX, MIN, POW, LESS, AT_LEAST, EQUAL, COPYSIGN):
        return 2
    if code in (FMA, FMS, FNMA, SELECT):
        return 3
    if code in (IF_LESS, IF_AT_LEAST, IF_EQUAL):
        return 4
    return 1


cdef inline vec vrint(vec x) noexcept nogil:
    """The nearest integer, ties to even."""
    cdef vec whole = splat(8388608.0 if vec is vf32 else 4503599627370496.0, x)  # from here on there are no others
    return if_less(vabs(x), whole, vcopysign(vabs(x) + whole - whole, x), x)


cdef inline vec softplus(vec x) noexcept nogil:
    """log(1 + exp(x)) without overflow; NaN stays."""
    return vmax(x, splat(0.0, x)) + log1p_finite(vexp(-vabs(x)))


cdef inline void of_two(int code, real *o, const real *x, Py_ssize_t sx, const real *y, Py_ssize_t sy, Py_ssize_t n,
                        vec like) noexcept nogil:
    """Run an instruction on two operands over n vectors; a step of 0 repeats one vector."""
    cdef Py_ssize_t i, W = lanes(like)
    cdef vec a, b, zero = splat(0.0, like), one = splat(1.0, like)
    if code == ADD:
        for i in range(n):
            store(o + i * W, load(x + i * sx, like) + load(y + i * sy, like))
    elif code == SUB:
        for i in range(n):
            store(o + i * W, load(x + i * sx, like) - load(y + i * sy, like))
    elif code == MUL:
        for i in range(n):
            store(o + i * W, load(x + i * sx, like) * load(y + i * sy, like))
    elif code == DIV:
        for i in range(n):
            store(o + i * W, load(x + i * sx, like) / load(y + i * sy, like))
    elif code == MAX:            # a NaN in either operand stays, as in NumPy
        for i in range(n):
            a, b = load(x + i * sx, like), load(y + i * sy, like)
            store(o + i * W, if_equal(b, b, vmax(a, b), b))
    elif code == MIN:
        for i in range(n):
            a, b = load(x + i * sx, like), load(y + i * sy, like)
            store(o + i * W, if_equal(b, b, vmin(a, b), b))
    elif code == LESS:
        for i in range(n):
            store(o + i * W, if_less(load(x + i * sx, like), load(y + i * sy, like), one, zero))
    elif code == AT_LEAST:
        for i in range(n):
            store(o + i * W, if_at_least(load(x + i * sx, like), load(y + i * sy, like), one, zero))
    elif code == EQUAL:
        for i in range(n):
            store(o + i * W, if_equal(load(x + i * sx, like), load(y + i * sy, like), one, zero))
    elif code == COPYSIGN:
        for i in range(n):
            store(o + i * W, vcopysign(load(x + i * sx, like), load(y + i * sy, like)))
    elif code == POW:
        for i in range(n):
            store(o + i * W, vpow(load(x + i * sx, like), load(y + i * sy, like)))


cdef inline void of_more(int code, real *o, const real *x, Py_ssize_t sx, const real *y, Py_ssize_t sy, const real *u,
                         Py_ssize_t su, const real *v, Py_ssize_t sv, Py_ssize_t n, vec like) noexcept nogil:
    """Run an instruction on three or four operands."""
    cdef Py_ssize_t i, W = lanes(like)
    cdef vec zero = splat(0.0, like)
    if code == FMA:
        for i in range(n):
            store(o + i * W, fma(load(x + i * sx, like), load(y + i * sy, like), load(u + i * su, like)))
    elif code == FMS:
        for i in range(n):
            store(o + i * W, fma(load(x + i * sx, like), load(y + i * sy, like), -load(u + i * su, like)))
    elif code == FNMA:
        for i in range(n):
            store(o + i * W, fma(-load(x + i * sx, like), load(y + i * sy, like), load(u + i * su, like)))
    elif code == SELECT:
        for i in range(n):
            store(o + i * W, if_equal(load(x + i * sx, like), zero, load(u + i * su, like), load(y + i * sy, like)))
    elif code == IF_LESS:
        for i in range(n):
            store(o + i * W, if_less(load(x + i * sx, like), load(y + i * sy, like), load(u + i * su, like),
                                     load(v + i * sv, like)))
    elif code == IF_AT_LEAST:
        for i in range(n):
            store(o + i * W, if_at_least(load(x + i * sx, like), load(y + i * sy, like), load(u + i * su, like),
                                         load(v + i * sv, like)))
    elif code == IF_EQUAL:
        for i in range(n):
            store(o + i * W, if_equal(load(x + i * sx, like), load(y + i * sy, like), load(u + i * su, like),
                                      load(v + i * sv, like)))


cdef inline void of_one(int code, real *o, const real *x, Py_ssize_t sx, Py_ssize_t n, vec like) noexcept nogil:
    """Run an instruction on one operand."""
    cdef Py_ssize_t i, W = lanes(like)
    cdef vec x0, zero = splat(0.0, like), one = splat(1.0, like)
    if code == COPY:
        for i in range(n):
            store(o + i * W, load(x + i * sx, like))
    elif code == NEG:
        for i in range(n):
            store(o + i * W, -load(x + i * sx, like))
    elif code == ABS:
        for i in range(n):
            store(o + i * W, vabs(load(x + i * sx, like)))
    elif code == SQRT:
        for i in range(n):
            store(o + i * W, vsqrt(load(x + i * sx, like)))
    elif code == ROUND:
        for i in range(n):
            store(o + i * W, vrint(load(x + i * sx, like)))
    elif code == EXP:
        for i in range(n):
            store(o + i * W, vexp(load(x + i * sx, like)))
    elif code == EXPM1:
        for i in range(n):
            store(o + i * W, vexpm1(load(x + i * sx, like)))
    elif code == LOG:
        for i in range(n):
            store(o + i * W, vlog(load(x + i * sx, like)))
    elif code == LOG1P:
        for i in range(n):
            store(o + i * W, vlog1p(load(x + i * sx, like)))
    elif code == TANH:
        for i in range(n):
            store(o + i * W, vtanh(load(x + i * sx, like)))
    elif code == SIGMOID:
        for i in range(n):
            store(o + i * W, vsigmoid(load(x + i * sx, like)))
    elif code == SIN:
        for i in range(n):
            store(o + i * W, vsin(load(x + i * sx, like)))
    elif code == COS:
        for i in range(n):
            store(o + i * W, vcos(load(x + i * sx, like)))
    elif code == ERF:
        for i in range(n):
            store(o + i * W, verf(load(x + i * sx, like)))
    elif code == SINH:
        for i in range(n):
            store(o + i * W, vsinh(load(x + i * sx, like)))
    elif code == COSH:
        for i in range(n):
            store(o + i * W, vcosh(load(x + i * sx, like)))
    elif code == ARCTAN:
        for i in range(n):
            store(o + i * W, vatan(load(x + i * sx, like)))
    elif code == SOFTPLUS:
        for i in range(n):
            store(o + i * W, softplus(load(x + i * sx, like)))
    elif code == SIGN:
        for i in range(n):
            x0 = load(x + i * sx, like)
            store(o + i * W, if_less(x0, zero, -one, if_less(zero, x0, one, x0)))
    elif code == ARCSINH:
        for i in range(n):
            store(o + i * W, vasinh(load(x + i * sx, like)))
