"""Vectors in Cython: the types of `simd.h` and one overloaded name per operation.

`vec` pairs with `real` (vf32 with float, vf64 with double). A vector has no size that Cython knows, so a function
that needs one takes it as an argument (`like`, a value that is never read); the compiler removes it. Cython is told
that vectors are numbers, which lets it write `a * b + c`; the C compiler sees vectors.
"""

cdef extern from "simd.h" nogil:
    ctypedef float vf32
    ctypedef double vf64
    ctypedef void noinline_void     # void of a function that is not inlined,
    ctypedef void noclone_void      # nor cloned for special arguments,
    ctypedef void forceinline_void  # or always inlined
    ctypedef unsigned long long vu64
    enum:
        MR         # rows of a GEMM tile
        KC         # most steps of k in a block
        UNROLL_ROWWISE      # steps of k that a loop over a tile takes at a time
        UNROLL_COLUMNWISE
        NV         # vectors in a row of a GEMM tile
        TILE       # vectors in a GEMM tile
        VBYTES     # bytes of a vector
        MAX_LANES  # lanes of a vector of float
    ctypedef struct rows_full:
        pass
    ctypedef struct rows_4:
        pass
    ctypedef struct rows_2:
        pass
    ctypedef struct rows_1:
        pass
    ctypedef struct wide:
        pass
    ctypedef struct narrow:
        pass
    ctypedef struct steps_rowwise:
        pass
    ctypedef struct steps_columnwise:
        pass
    ctypedef struct steps_1:
        pass
    ctypedef struct rowwise:
        pass
    ctypedef struct columnwise:
        pass

    vu64 splat_u64(unsigned long long)
    vu64 product_u64(vu64, vu64)
    vf32 splat_f32(float)
    vf64 splat_f64(double)
    vf32 load_f32(const float *)
    vf64 load_f64(const double *)
    vf32 load_n_f32(const float *, Py_ssize_t)
    vf64 load_n_f64(const double *, Py_ssize_t)
    void store_f32(float *, vf32)
    void store_f64(double *, vf64)
    void store_n_f32(float *, vf32, Py_ssize_t)
    void store_n_f64(double *, vf64, Py_ssize_t)
    vf32 fma_f32(vf32, vf32, vf32)
    vf64 fma_f64(vf64, vf64, vf64)
    vf32 if_less_f32(vf32, vf32, vf32, vf32)
    vf64 if_less_f64(vf64, vf64, vf64, vf64)
    vf32 if_at_least_f32(vf32, vf32, vf32, vf32)
    vf64 if_at_least_f64(vf64, vf64, vf64, vf64)
    vf32 if_unsigned_f32(vf32, vf32, vf32)
    vf64 if_unsigned_f64(vf64, vf64, vf64)
    vf32 if_equal_f32(vf32, vf32, vf32, vf32)
    vf64 if_equal_f64(vf64, vf64, vf64, vf64)
    vf32 first_n_f32(vf32, Py_ssize_t, vf32)
    vf64 first_n_f64(vf64, Py_ssize_t, vf64)
    vf32 max_f32(vf32, vf32)
    vf64 max_f64(vf64, vf64)
    vf32 min_f32(vf32, vf32)
    vf64 min_f64(vf64, vf64)
    vf32 abs_f32(vf32)
    vf64 abs_f64(vf64)
    vf32 sqrt_f32(vf32)
    vf64 sqrt_f64(vf64)
    vf32 copysign_f32(vf32, vf32)
    vf64 copysign_f64(vf64, vf64)
    vf32 with_sign_f32(vf32, vf32)
    vf64 with_sign_f64(vf64, vf64)
    float lane_f32(vf32, Py_ssize_t)
    double lane_f64(vf64, Py_ssize_t)
    vf32 with_lane_f32(vf32, Py_ssize_t, float)
    vf64 with_lane_f64(vf64, Py_ssize_t, double)
    vf32 round_f32(vf32)
    vf64 round_f64(vf64)
    vf32 pow2_f32(vf32)
    vf64 pow2_f64(vf64)
    vf32 pow2_low_f32(vf32)
    vf64 pow2_low_f64(vf64)
    float MAGIC_F32
    double MAGIC_F64
    vf32 ldexp_f32(vf32, vf32)
    vf64 ldexp_f64(vf64, vf64)
    vf32 scale_f32(vf32, vf32)
    vf64 scale_f64(vf64, vf64)
    vf32 exponent_f32(vf32)
    vf64 exponent_f64(vf64)
    bint any_less_f32(vf32, vf32)
    bint any_less_f64(vf64, vf64)
    vf32 if_bit_f32(vf32, int, vf32, vf32)
    vf64 if_bit_f64(vf64, int, vf64, vf64)
    void transpose_f32(vf32 *)
    void transpose_f64(vf64 *)
    vf32 across_sum_f32(vf32)
    vf64 across_sum_f64(vf64)
    vf32 across_max_f32(vf32)
    vf64 across_max_f64(vf64)
    void *launder(void *)
    void prefetch(const void *)
    void prefetch_read(const void *)
    Py_ssize_t fetch_add(Py_ssize_t *)
    int team_size()
    int most_threads()
    size_t openmp_code()
    int thread_id()
    bint has_openmp()
    ctypedef struct barrier_t:
        pass
    void team_barrier(barrier_t *, int)
    int this_cpu()
    void leave_cpu(int, int)
    unsigned long enter_fp()
    void leave_fp(unsigned long)

cdef enum:
    LINE_NUMBERS = 64    # numbers, of either type whole cache lines: shares and rows that begin there share no line

ctypedef fused real:
    float
    double

ctypedef fused vec:
    vf32
    vf64

ctypedef fused rows_t:      # rows of a tile: sizeof(rows_t)
    rows_full
    rows_4
    rows_2
    rows_1

ctypedef fused width_t:     # vectors of a tile: sizeof(width_t)
    wide
    narrow

ctypedef fused steps_t:     # steps of k taken together: sizeof(steps_t)
    steps_rowwise
    steps_columnwise
    steps_1

ctypedef fused order_t:     # how `a` lies: along its rows, k by k, or along its columns, row by row
    rowwise
    columnwise


cdef inline vec splat(double x, vec like) noexcept nogil:
    """Every lane x."""
    if vec is vf32:
        return splat_f32(<float> x)
    else:
        return splat_f64(x)


cdef inline vec load(const real *p, vec like) noexcept nogil:
    """The lanes from p on, any alignment."""
    if vec is vf32:
        return load_f32(<const float *> p)
    else:
        return load_f64(<const double *> p)


cdef inline vec load_n(const real *p, Py_ssize_t n, vec like) noexcept nogil:
    """The first n lanes from p on, then zeros; reads nothing beyond them."""
    if vec is vf32:
        return load_n_f32(<const float *> p, n)
    else:
        return load_n_f64(<const double *> p, n)


cdef inline void store(real *p, vec x) noexcept nogil:
    if vec is vf32:
        store_f32(<float *> p, x)
    else:
        store_f64(<double *> p, x)


cdef inline void store_n(real *p, vec x, Py_ssize_t n) noexcept nogil:
    """The first n lanes only."""
    if vec is vf32:
        store_n_f32(<float *> p, x, n)
    else:
        store_n_f64(<double *> p, x, n)


cdef inline vec fma(vec a, vec b, vec c) noexcept nogil:
    """a * b + c."""
    if vec is vf32:
        return fma_f32(a, b, c)
    else:
        return fma_f64(a, b, c)


cdef inline vec if_less(vec c, vec d, vec x, vec y) noexcept nogil:
    """x where c < d, else y (also where c or d is NaN)."""
    if vec is vf32:
        return if_less_f32(c, d, x, y)
    else:
        return if_less_f64(c, d, x, y)


cdef inline vec if_at_least(vec c, vec d, vec x, vec y) noexcept nogil:
    """x where c >= d, else y (also where c or d is NaN)."""
    if vec is vf32:
        return if_at_least_f32(c, d, x, y)
    else:
        return if_at_least_f64(c, d, x, y)


cdef inline vec if_unsigned(vec c, vec x, vec y) noexcept nogil:
    """x where c has no sign bit (0 has none, -0 has one) and is no NaN, else y."""
    if vec is vf32:
        return if_unsigned_f32(c, x, y)
    else:
        return if_unsigned_f64(c, x, y)


cdef inline vec if_equal(vec c, vec d, vec x, vec y) noexcept nogil:
    """x where c == d, else y (also where c or d is NaN)."""
    if vec is vf32:
        return if_equal_f32(c, d, x, y)
    else:
        return if_equal_f64(c, d, x, y)


cdef inline vec vmax(vec x, vec y) noexcept nogil:
    """y where x < y, else x (also where x or y is NaN)."""
    if vec is vf32:
        return max_f32(x, y)
    else:
        return max_f64(x, y)


cdef inline vec vmin(vec x, vec y) noexcept nogil:
    """y where y < x, else x (also where x or y is NaN)."""
    if vec is vf32:
        return min_f32(x, y)
    else:
        return min_f64(x, y)


cdef inline vec vabs(vec x) noexcept nogil:
    if vec is vf32:
        return abs_f32(x)
    else:
        return abs_f64(x)


cdef inline vec vsqrt(vec x) noexcept nogil:
    """NaN below 0."""
    if vec is vf32:
        return sqrt_f32(x)
    else:
        return sqrt_f64(x)


cdef inline vec vcopysign(vec x, vec sign) noexcept nogil:
    if vec is vf32:
        return copysign_f32(x, sign)
    else:
        return copysign_f64(x, sign)


cdef inline vec vwith_sign(vec x, vec sign) noexcept nogil:
    """Return x with the sign of another, for an x that has none."""
    if vec is vf32:
        return with_sign_f32(x, sign)
    else:
        return with_sign_f64(x, sign)


cdef inline double lane(vec x, Py_ssize_t k) noexcept nogil:
    if vec is vf32:
        return lane_f32(x, k)
    else:
        return lane_f64(x, k)


cdef inline vec with_lane(vec x, Py_ssize_t k, double value) noexcept nogil:
    """x with lane k replaced."""
    if vec is vf32:
        return with_lane_f32(x, k, <float> value)
    else:
        return with_lane_f64(x, k, value)


cdef inline vec vround(vec x) noexcept nogil:
    """Nearest integer, ties to even, for |x| below 2^21 (float32) or 2^50."""
    if vec is vf32:
        return round_f32(x)
    else:
        return round_f64(x)


cdef inline vec vmagic(vec like) noexcept nogil:
    """The number that, added to x, leaves the integer nearest to x in the low bits."""
    if vec is vf32:
        return splat_f32(MAGIC_F32)
    else:
        return splat_f64(MAGIC_F64)


cdef inline vec vpow2_low(vec x) noexcept nogil:
    """2^k for the integer k in the low bits of x, by `vmagic`."""
    if vec is vf32:
        return pow2_low_f32(x)
    else:
        return pow2_low_f64(x)


cdef inline vec vpow2(vec k) noexcept nogil:
    """2^k for integers k in the range of normal numbers."""
    if vec is vf32:
        return pow2_f32(k)
    else:
        return pow2_f64(k)


cdef inline vec vldexp(vec x, vec k) noexcept nogil:
    """x 2^k rounded once, for |x| near 1 and integers k up to twice the range: overflows, underflows gradually."""
    if vec is vf32:
        return ldexp_f32(x, k)
    else:
        return ldexp_f64(x, k)


cdef inline vec vscale(vec x, vec k) noexcept nogil:
    """x 2^k for integers k, where x and the result are normal numbers."""
    if vec is vf32:
        return scale_f32(x, k)
    else:
        return scale_f64(x, k)


cdef inline vec vexponent(vec x) noexcept nogil:
    """The integer k with 2^-k x in [sqrt(1/2), sqrt(2)), for normal x > 0."""
    if vec is vf32:
        return exponent_f32(x)
    else:
        return exponent_f64(x)


cdef inline bint any_less(vec c, vec d) noexcept nogil:
    """Return whether c < d in some lane."""
    if vec is vf32:
        return any_less_f32(c, d)
    else:
        return any_less_f64(c, d)


cdef inline vec if_bit(vec k, int b, vec x, vec y) noexcept nogil:
    """x where the integer k has the bit of mask b set, else y."""
    if vec is vf32:
        return if_bit_f32(k, b, x, y)
    else:
        return if_bit_f64(k, b, x, y)


cdef inline void vtranspose(vec *rows) noexcept nogil:
    """Transpose a square: as many vectors as a vector has lanes."""
    if vec is vf32:
        transpose_f32(rows)
    else:
        transpose_f64(rows)


cdef inline vec across_sum(vec x) noexcept nogil:
    """The sum of all lanes, in every lane: of pairs, of pairs of pairs, ..."""
    if vec is vf32:
        return across_sum_f32(x)
    else:
        return across_sum_f64(x)


cdef inline vec across_max(vec x) noexcept nogil:
    """The maximum of all lanes, in every lane; where one is NaN, that or another lane."""
    if vec is vf32:
        return across_max_f32(x)
    else:
        return across_max_f64(x)


cdef inline vec first_n(vec x, Py_ssize_t n, vec y) noexcept nogil:
    """The first n lanes of x, then y."""
    if vec is vf32:
        return first_n_f32(x, n, y)
    else:
        return first_n_f64(x, n, y)


cdef inline Py_ssize_t lanes(vec like) noexcept nogil:
    """Numbers in a vector."""
    if vec is vf32:
        return sizeof(vf32) // sizeof(float)
    else:
        return sizeof(vf64) // sizeof(double)


cdef inline vec fetch(const real *p, Py_ssize_t left, vec like) noexcept nogil:
    """Return a vector of the numbers that are left, 0 beyond."""
    return load(p, like) if left >= lanes(like) else load_n(p, left, like)


cdef inline void put(real *p, vec x, Py_ssize_t left) noexcept nogil:
    """Store the lanes that are left."""
    if left >= lanes(x):
        store(p, x)
    else:
        store_n(p, x, left)


cdef inline void share(Py_ssize_t n, Py_ssize_t grain, Py_ssize_t part, Py_ssize_t parts, Py_ssize_t *first,
                       Py_ssize_t *last) noexcept nogil:
    """Find the range of one of so many equal parts of 0 .. n, cut at multiples of grain.

    Only kernels whose bits don't depend on the cut use it.
    """
    cdef Py_ssize_t grains = (n + grain - 1) // grain
    first[0] = min(n, grains * part // parts * grain)
    last[0] = min(n, grains * (part + 1) // parts * grain)
