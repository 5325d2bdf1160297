"""GEMM: c = a b with what follows it fused (bias, batch norm's affine map, activation; or the activation's derivative).

A tile of MR rows and NV vectors of columns stays in registers while k runs; `k` is summed in ascending order by one
chain of fused multiply-adds per element, whatever the tile, block or packing, so that an element's bits depend on
its row of `a` and its column of `b` alone. Blocking follows BLIS: a panel of KC x NR of `b` stays in L1 while the row
tiles of a block of MC rows pass over it; where k has several blocks, c carries the partial sums.
"""
from libc.string cimport memcpy

from .simd cimport (
    MR, NV, fma, if_less, lanes, load, load_n, narrow, real, rows_1, rows_2, rows_4, rows_full, rows_t, splat, splat_f32,
    splat_f64, store, store_n, vec, wide, width_t
)
from .activations cimport IDENTITY, LEAKY_RELU, RELU, activation_backward, activation_forward

cdef enum:
    KC = 256      # rows of a panel of b: KC x NR numbers fit half of L1
    MC = 240       # rows of a block of a: MC x KC numbers fit half of L2; a multiple of 6 and 8
    PAD = 16      # keeps the rows of a copied block from sharing cache sets
    COPY_FROM = 8 # panels of b that a block of a must meet before copying it pays

# Offsets into a copied block: element (i, k) at row_starts[i] + unit_steps[k], or unit_steps[i] + row_steps[k].
cdef Py_ssize_t[MC] row_starts
cdef Py_ssize_t[KC] unit_steps
cdef Py_ssize_t[KC] row_steps
for at in range(MC):
    row_starts[at] = at * (KC + PAD)
for at in range(KC):
    unit_steps[at] = at
    row_steps[at] = at * (MC + PAD)


cdef inline void finish(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar,
                        const rows_t *height, const width_t *width) noexcept nogil:
    """The epilogue of one finished tile, still in registers."""
    cdef vec like = acc[0]
    cdef Py_ssize_t W = lanes(like), r, v, at
    cdef vec x, y, factor, shift, slope = splat(g.slope, like), zero = splat(0.0, like)
    cdef real *c
    for v in range(sizeof(width_t)):
        at = j + v * W
        factor = splat(1.0, like)
        shift = zero
        if g.scale != NULL:
            factor = fetch(<const real *> g.scale + at, n, width, like)
        if g.shift != NULL:
            shift = fetch(<const real *> g.shift + at, n, width, like)
        for r in range(sizeof(rows_t)):
            x = acc[r * NV + v]
            if g.scale != NULL:
                x = x * factor
            if g.shift != NULL:
                x = x + shift
            if g.z != NULL:
                y = fetch(<const real *> g.z + (i + r) * g.ldz + at, n, width, like)
                if g.kind == RELU and g.at_zero == 1.0:
                    x = if_less(y, zero, zero, x)
                elif g.kind == LEAKY_RELU:
                    x = if_less(y, zero, x * slope, x)
            c = <real *> g.c + (i + r) * g.ldc + at
            if g.activation != NULL:
                if g.activation != g.c:
                    put(c, x, n, width)
                if g.kind == RELU:
                    x = if_less(x, zero, zero, x)
                elif g.kind == LEAKY_RELU:
                    x = if_less(x, zero, x * slope, x)
                c = <real *> g.activation + (i + r) * g.ld_activation + at
            put(c, x, n, width)


cdef inline vec fetch(const real *p, Py_ssize_t n, const width_t *width, vec like) noexcept nogil:
    """A vector of a wide tile is whole, that of a narrow one has n lanes."""
    if width_t is wide:
        return load(p, like)
    else:
        return load_n(p, n, like)


cdef inline void put(real *p, vec x, Py_ssize_t n, const width_t *width) noexcept nogil:
    if width_t is wide:
        store(p, x)
    else:
        store_n(p, x, n)


cdef struct part_t:
    # one block of a: rows i0 .. i0 + rows over k0 .. k0 + depth, where it lies in memory (in place, or copied)
    const void *a
    const Py_ssize_t *starts
    const Py_ssize_t *steps
    Py_ssize_t i0, rows, k0, depth


cdef inline void tile(const gemm_t *g, const part_t *part, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, const real *b,
                      Py_ssize_t ldb, vec like, const rows_t *height, const width_t *width) noexcept nogil:
    """sizeof(rows_t) rows of c from row i of the part, n columns from j."""
    cdef vec acc[MR * NV]
    cdef vec y[NV]
    cdef vec x
    cdef const real *p[MR]
    cdef const Py_ssize_t *steps = part.steps
    cdef Py_ssize_t r, v, k, W = lanes(like)
    cdef real *c = <real *> g.c + (part.i0 + i) * g.ldc + j
    for r in range(sizeof(rows_t)):
        p[r] = <const real *> part.a + part.starts[i + r]
        for v in range(sizeof(width_t)):
            acc[r * NV + v] = splat(0.0, like)
            if part.k0 != 0:
                acc[r * NV + v] = fetch(<const real *> c + r * g.ldc + v * W, n, width, like)
    for k in range(part.depth):
        for v in range(sizeof(width_t)):
            y[v] = fetch(b + v * W, n, width, like)
        for r in range(sizeof(rows_t)):
            x = splat(p[r][steps[k]], like)
            for v in range(sizeof(width_t)):
                acc[r * NV + v] = fma(x, y[v], acc[r * NV + v])
        b += ldb
    if part.k0 + part.depth == g.k:
        finish(g, part.i0 + i, j, n, acc, b, height, width)
        return
    for r in range(sizeof(rows_t)):
        for v in range(sizeof(width_t)):
            put(c + r * g.ldc + v * W, acc[r * NV + v], n, width)


cdef inline void strip(const gemm_t *g, const part_t *part, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                       vec like, const width_t *width) noexcept nogil:
    """All rows of the part; those left over go by tiles of 4, 2 and 1, so nothing is computed in vain."""
    cdef Py_ssize_t i = 0
    while part.rows - i >= MR:
        tile(g, part, i, j, n, b, ldb, like, <const rows_full *> NULL, width)
        i += MR
    if part.rows - i >= 4:
        tile(g, part, i, j, n, b, ldb, like, <const rows_4 *> NULL, width)
        i += 4
    if part.rows - i >= 2:
        tile(g, part, i, j, n, b, ldb, like, <const rows_2 *> NULL, width)
        i += 2
    if part.rows - i >= 1:
        tile(g, part, i, j, n, b, ldb, like, <const rows_1 *> NULL, width)


cdef inline void panel(const gemm_t *g, const part_t *part, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                       vec like) noexcept nogil:
    """Columns j .. j + n, n at most NR."""
    cdef Py_ssize_t W = lanes(like), v = 0
    if n == NV * W:
        strip(g, part, j, n, b, ldb, like, <const wide *> NULL)
        return
    while v < n:
        strip(g, part, j + v, min(W, n - v), b + v, ldb, like, <const narrow *> NULL)
        v += W


cdef inline void copy_block(const gemm_t *g, part_t *part, real *scratch) noexcept nogil:
    """Copies the block, along the side that is contiguous in memory."""
    cdef const real *a = <const real *> g.a
    cdef Py_ssize_t i
    if g.steps[1] - g.steps[0] == 1:
        for i in range(part.rows):
            memcpy(scratch + row_starts[i], a + g.starts[part.i0 + i] + g.steps[part.k0], part.depth * sizeof(real))
        part.starts = row_starts
        part.steps = unit_steps
    else:
        for i in range(part.depth):
            memcpy(scratch + row_steps[i], a + g.starts[part.i0] + g.steps[part.k0 + i], part.rows * sizeof(real))
        part.starts = unit_steps
        part.steps = row_steps
    part.a = scratch


cdef inline void block(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, const real *b,
                       real *scratch, vec like) noexcept nogil:
    """Rows i0 .. i1 (at most MC), columns j0 .. j1 (j0 a multiple of NR), the whole of k."""
    cdef Py_ssize_t NR = NV * lanes(like), j
    cdef part_t part
    part.i0, part.rows, part.k0 = i0, i1 - i0, 0
    while True:                      # once even where k is 0: the epilogue writes c
        part.depth = min(KC, g.k - part.k0)
        part.a, part.starts, part.steps = g.a, g.starts + i0, g.steps + part.k0
        if scratch != NULL and j1 - j0 >= COPY_FROM * NR and g.k > 1:
            copy_block(g, &part, scratch)
        j = j0
        while j < j1:
            if g.b_packed:
                panel(g, &part, j, min(NR, j1 - j), b + j * g.k + part.k0 * NR, NR, like)
            else:
                panel(g, &part, j, min(NR, j1 - j), b + part.k0 * g.ldb + j, g.ldb, like)
            j += NR
        part.k0 += part.depth
        if part.k0 >= g.k:
            return


cdef void sweep(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                const real *like) noexcept nogil:
    """What is too long for the tile's epilogue, row by row while the block is in cache."""
    cdef Py_ssize_t i
    cdef real *c
    if g.kind == IDENTITY or g.kind == LEAKY_RELU or (g.kind == RELU and (g.z == NULL or g.at_zero == 1.0)):
        return
    for i in range(i0, i1):
        c = <real *> g.c + i * g.ldc + j0
        if g.z != NULL:
            activation_backward(g.kind, <const real *> g.z + i * g.ldz + j0,
                                <const real *> g.a_of_z + i * g.ldz + j0, c, c, j1 - j0, g.slope, g.at_zero)
        elif g.activation != NULL:
            activation_forward(g.kind, (<real *> g.activation + i * g.ld_activation + j0) if g.c == g.activation else c,
                               <real *> g.activation + i * g.ld_activation + j0, j1 - j0, g.slope)


cdef Py_ssize_t scratch_size() noexcept nogil:
    """Numbers that `gemm` wants to copy blocks of a into."""
    return max(MC * (KC + PAD), KC * (MC + PAD))


cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch) noexcept nogil:
    """Rows i0 .. i1 and columns j0 .. j1 of c, epilogue included; j0 is a multiple of the panel width.

    `scratch`, scratch_size() numbers of this thread's own or NULL, is where blocks of `a` are copied if that pays.
    """
    cdef Py_ssize_t i = i0, end
    while i < i1:
        end = min(i + MC, i1)
        if real is float:
            block(g, i, end, j0, j1, <const float *> g.b, scratch, splat_f32(0))
        else:
            block(g, i, end, j0, j1, <const double *> g.b, scratch, splat_f64(0))
        sweep(g, i, end, j0, j1, scratch)
        i = end


cdef Py_ssize_t panel_width(const real *like) noexcept nogil:
    """NR: columns of a packed panel."""
    return NV * (lanes(splat_f32(0)) if real is float else lanes(splat_f64(0)))


cdef Py_ssize_t packed_size(Py_ssize_t k, Py_ssize_t n, const real *like) noexcept nogil:
    """Numbers that a packed (k, n) matrix takes."""
    cdef Py_ssize_t NR = panel_width(like)
    return (n + NR - 1) // NR * NR * k


cdef void pack_b(const real *b, Py_ssize_t ldb, Py_ssize_t k, Py_ssize_t n, Py_ssize_t panel0, Py_ssize_t panel1,
                 real *packed) noexcept nogil:
    """Panels panel0 .. panel1 of b (k, n): NR columns each, row after row, the last filled up with zeros."""
    cdef Py_ssize_t NR = panel_width(b), p, i, j, width
    cdef real *out
    for p in range(panel0, panel1):
        out = packed + p * NR * k
        width = min(NR, n - p * NR)
        for i in range(k):
            for j in range(width):
                out[j] = b[i * ldb + p * NR + j]
            for j in range(width, NR):
                out[j] = 0
            out += NR


cdef void pack_b_transposed(const real *b, Py_ssize_t ldb, Py_ssize_t k, Py_ssize_t n, Py_ssize_t panel0,
                            Py_ssize_t panel1, real *packed) noexcept nogil:
    """The same panels of the transpose of b (n, k)."""
    cdef Py_ssize_t NR = panel_width(b), p, i, j, width
    cdef real *out
    for p in range(panel0, panel1):
        out = packed + p * NR * k
        width = min(NR, n - p * NR)
        for j in range(width):
            for i in range(k):
                out[i * NR + j] = b[(p * NR + j) * ldb + i]
        for j in range(width, NR):
            for i in range(k):
                out[i * NR + j] = 0
