"""GEMM: c = a b with what follows it fused (bias, batch norm's affine map, activation; or the activation's derivative).

A tile of MR rows and NV vectors of columns stays in registers while k runs. An element is the sum over blocks of k of
chains of fused multiply-adds, both in ascending order of k, whatever the tile, the copies or the threads: its bits
depend on its row of `a` and its column of `b` alone. Blocking follows BLIS: a panel of KC x NR of `b` stays in L1 while
the row tiles of a block of `a` pass over it; where k has several blocks, c carries the partial sums, and one part of c, small
enough for L2, goes through all of them before the next.
"""
from libc.string cimport memcpy

from .panels cimport copy_panels, transpose_panels
from .pieces cimport cut, pieces_t, take
from .simd cimport (
    KC, MR, NV, TILE, afresh, apart, columnwise, lanes, load, load_n, narrow, order_t, prefetch, real, rows_1, rows_2, rows_4,
    rows_full, rows_t, rowwise, share, splat, splat_f32, splat_f64, store, vec, wide, width_t
)
from .single cimport single_row
from .tile cimport ASIDE, block_depth, end_whole, ending_of, ending_t, finish, note, part_t, prepare_end, sweep
from .tile_sums cimport HAS_SUMS, ends_whole, is_by_hand, tile_sums

cdef enum:
    MC = 96         # most rows of a block of a, a multiple of 6 and 8
    PANELS = 32     # that go together: their part of c stays in L2, beside the block of a, from one block of k to the next
    ALONG = 128     # panels' worth of columns that a single row takes at a time
    DEEP = 1024     # most of k for which they are copied at once
    PAD = 16        # keeps the rows of a copied block from sharing cache sets
    STRIP = MR * KC + PAD   # of its transpose: room for what the last vector has too many
    FAR = 4096      # bytes from row to row of `a` from which a block is copied, see is_far,
    FAR_TURNED = 2048   # from number to number of a row of its transpose,
    FAR_B = 512     # and from row to row of a panel of `b`, which would share too few cache sets to stay in L1
    COPY_A_FROM = 8     # panels that a block of a must meet before copying it pays
    COPY_B_FROM = 48    # rows that a panel of b must meet
    FAR_DOWN = 128      # steps of k from which the cache lines of c are asked for before the first

# Offsets into a copied block: element (i, k) at row_starts[i] + unit_steps[k]; of a transpose, in strips of MR that
# the tile reads from end to end, at strip_starts[i] + strip_steps[k].
cdef Py_ssize_t[MC] row_starts
cdef Py_ssize_t[MC] strip_starts
cdef Py_ssize_t[KC] unit_steps
cdef Py_ssize_t[KC] strip_steps
for at in range(MC):
    row_starts[at] = at * (KC + PAD)
    strip_starts[at] = at // MR * STRIP + at % MR
for at in range(KC):
    unit_steps[at] = at
    strip_steps[at] = at * MR


cdef apart finish_apart(const gemm_t *g, part_t *part, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc,
                        const real *scalar, const rows_t *height) noexcept nogil:
    """One body for tiles of either width and order."""
    finish(g, part, i, j, n, acc, scalar, height)


cdef inline void finish_tile(const gemm_t *g, part_t *part, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, const vec *acc,
                             const real *scalar, const rows_t *height, const width_t *width) noexcept nogil:
    """Vector by vector, from a copy that is made at once: so the tile itself needs no memory."""
    cdef Py_ssize_t r, v, W = lanes(acc[0])
    cdef vec[TILE] columns
    for v in range(sizeof(width_t)):
        for r in range(sizeof(rows_t)):
            columns[v * sizeof(rows_t) + r] = acc[r * sizeof(width_t) + v]
    for v in range(sizeof(width_t)):
        finish_apart(g, part, i, j + v * W, min(W, n - v * W), columns + v * sizeof(rows_t), scalar, height)


cdef apart tiles(const gemm_t *g, part_t *part, Py_ssize_t first, Py_ssize_t last, Py_ssize_t j, Py_ssize_t n,
                 const real *b, Py_ssize_t ldb, vec like, const rows_t *height, const width_t *width,
                 const order_t *order) noexcept nogil:
    """Tiles of sizeof(rows_t) rows of c, from row `first` of the part on; columns from j: whole vectors, or n.

    One loop around it all: the compiler unrolls only what is inside another loop early enough to keep `acc` in registers.
    """
    cdef vec[TILE] acc
    cdef const real *a = <const real *> part.a
    cdef real *c = <real *> g.c + (part.i0 + first) * g.ldc + j
    cdef real *at
    cdef const Py_ssize_t *starts = part.starts + first
    cdef const Py_ssize_t *steps = part.steps
    cdef Py_ssize_t v, i, _row, depth = part.depth, ldc = g.ldc, stride = 0
    cdef int ending = ASIDE
    cdef bint adds = False
    cdef ending_t end
    if ends_whole(height, width) and n == NV * lanes(like):
        ending = ending_of(g, part)
        adds = ending != ASIDE and part.k0 != 0
        prepare_end(g, part, j, b, &end, like)
    if depth > 0 and (order_t is rowwise or is_by_hand(height, width)):
        a += steps[0]
    if depth > 1 and order_t is columnwise:
        stride = steps[1] - steps[0]
    for i from first <= i < last by sizeof(rows_t):
        if depth >= FAR_DOWN:
            at = <real *> afresh(c)
            for _row in range(sizeof(rows_t)):
                for v in range(sizeof(width_t)):
                    prefetch(at + v * lanes(like))
                at += ldc
        tile_sums(acc, a, starts, steps, stride, depth, b, ldb, c if adds else NULL, ldc, like, height, width, order)
        if ends_whole(height, width) and ending != ASIDE:
            end_whole(g, part, ending, part.i0 + i, j, c, acc, &end, like, height)
        else:
            finish_tile(g, part, part.i0 + i, j, n, acc, b, height, width)
        starts += sizeof(rows_t)
        c += <Py_ssize_t> sizeof(rows_t) * ldc


cdef inline void strip(const gemm_t *g, part_t *part, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb, vec like,
                       const width_t *width, const order_t *order) noexcept nogil:
    """All rows of the part; those left over go by tiles of 4, 2 and 1, so nothing is computed in vain."""
    cdef Py_ssize_t i = part.rows // MR * MR, fours
    # By hand, 8 are faster as 4 and 4: 2 would wait for their sums. Copied strips are MR wide.
    if (HAS_SUMS and width_t is wide and i > 0 and 2 <= part.rows - i < 4
            and (order_t is rowwise or part.a == g.a)):
        i -= MR
    if i > 0:
        tiles(g, part, 0, i, j, n, b, ldb, like, <const rows_full *> NULL, width, order)
    if part.rows - i >= 4:
        fours = i + (part.rows - i) // 4 * 4
        tiles(g, part, i, fours, j, n, b, ldb, like, <const rows_4 *> NULL, width, order)
        i = fours
    if part.rows - i >= 2:
        tiles(g, part, i, i + 2, j, n, b, ldb, like, <const rows_2 *> NULL, width, order)
        i += 2
    if part.rows - i >= 1:
        tiles(g, part, i, i + 1, j, n, b, ldb, like, <const rows_1 *> NULL, width, order)


cdef inline bint copies_b(const gemm_t *g, Py_ssize_t rows, const real *like) noexcept nogil:
    """Whether whole panels of b are copied: a transpose always, others where rows lie apart and many meet them; all of
    c, where the copies are made for all of it."""
    if g.packed != NULL:
        rows = g.m
    return g.b_transposed or (g.ldb * <Py_ssize_t> sizeof(real) >= FAR_B and rows >= COPY_B_FROM)


cdef inline void panel_of(const gemm_t *g, part_t *part, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                          vec like, const order_t *order) noexcept nogil:
    """Columns j .. j + n, n at most NR, of which b is the first; what it has beyond them is computed, and not kept."""
    if n > lanes(like):
        strip(g, part, j, n, b, ldb, like, <const wide *> NULL, order)
    else:
        strip(g, part, j, n, b, ldb, like, <const narrow *> NULL, order)


cdef inline void panel(const gemm_t *g, part_t *part, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                       vec like) noexcept nogil:
    if g.a_transposed:
        panel_of(g, part, j, n, b, ldb, like, <const columnwise *> NULL)
    else:
        panel_of(g, part, j, n, b, ldb, like, <const rowwise *> NULL)


cdef inline void copy_strips(const real *row, Py_ssize_t n, real *to, vec like) noexcept nogil:
    """A step of k of the transpose: MR neighbours to each strip. What a vector has beyond them is written over later."""
    cdef Py_ssize_t v, W = lanes(like), vectors = (MR + W - 1) // W
    while n >= vectors * W:
        for v in range(vectors):
            store(to + v * W, load(row + v * W, like))
        row += MR
        to += STRIP
        n -= MR
    while n > 0:
        for v in range(vectors):
            if n > v * W:
                store(to + v * W, load_n(row + v * W, min(W, n - v * W), like))
        row += MR
        to += STRIP
        n -= MR


cdef inline void copy_block(const gemm_t *g, part_t *part, real *to, vec like) noexcept nogil:
    """Copies the block of a: its rows, or those of its transpose cut into strips."""
    cdef const real *a = <const real *> g.a
    cdef Py_ssize_t i, k
    if not g.a_transposed:
        for i in range(part.rows):
            memcpy(to + row_starts[i], a + g.starts[part.i0 + i] + g.steps[part.k0], part.depth * sizeof(real))
        part.starts, part.steps = row_starts, unit_steps
    else:
        for k in range(part.depth):
            copy_strips(a + g.starts[part.i0] + g.steps[part.k0 + k], part.rows, to + strip_steps[k], like)
        part.starts, part.steps = strip_starts, strip_steps
    part.a = to


cdef inline void block(const gemm_t *g, part_t *part, Py_ssize_t j0, Py_ssize_t j1, const real *copies, bint all_copied,
                       vec like) noexcept nogil:
    """The rows of the part, columns j0 .. j1; the panels of b are copied, all or just the last if it isn't whole."""
    cdef Py_ssize_t j = j0, NR = NV * lanes(like)
    cdef const real *b = <const real *> g.b + part.k0 * g.ldb
    while j < j1:
        if all_copied:
            panel(g, part, j, min(NR, j1 - j), copies + (j - j0) * part.depth, NR, like)
        elif j1 - j >= NR:
            panel(g, part, j, NR, b + j, g.ldb, like)
        else:
            panel(g, part, j, j1 - j, copies, NR, like)
        j += NR


cdef inline bint is_far(const gemm_t *g, const real *like) noexcept nogil:
    """Whether the cache has no room for all numbers of `a` that a tile takes: those of a transpose lie on many lines,
    rows at multiples of FAR share a few cache sets."""
    cdef Py_ssize_t distance = g.lda * <Py_ssize_t> sizeof(real)
    return distance >= FAR_TURNED if g.a_transposed else distance >= FAR and distance % FAR == 0


cdef apart copy_columns(const gemm_t *g, Py_ssize_t k0, Py_ssize_t k1, Py_ssize_t j0, Py_ssize_t j1, bint all_copied,
                        real *to, vec like) noexcept nogil:
    """Panels of b for k0 .. k1: of all columns, or of those that fill no panel; one block after another."""
    cdef Py_ssize_t NR = NV * lanes(like), depth, most = block_depth(g.k)
    cdef const real *b = <const real *> g.b
    if not all_copied:
        j0 = j1 - (j1 - j0) % NR
    while k0 < k1:
        depth = min(most, k1 - k0)
        if g.b_transposed:
            transpose_panels(b + j0 * g.ldb + k0, g.ldb, depth, j1 - j0, to, like)
        else:
            copy_panels(b + k0 * g.ldb + j0, g.ldb, depth, j1 - j0, to, like)
        to += depth * ((j1 - j0 + NR - 1) // NR * NR)
        k0 += depth


cdef inline void columns(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch,
                         vec like) noexcept nogil:
    """Rows i0 .. i1, columns j0 .. j1, at most PANELS of them, the whole of k."""
    cdef Py_ssize_t NR = NV * lanes(like), padded = (j1 - j0 + NR - 1) // NR * NR, k0 = 0, k1
    cdef Py_ssize_t blocks = (i1 - i0 + MC - 1) // MC, rows = ((i1 - i0 + blocks - 1) // blocks + MR - 1) // MR * MR
    cdef Py_ssize_t depth = block_depth(g.k), deep = DEEP // depth * depth if blocks > 1 else depth
    cdef bint all_copied = copies_b(g, i1 - i0, scratch)
    # by hand, sums need one distance from step to step; the rest is for speed
    cdef bint copies_a = (HAS_SUMS and g.gathered) or (j1 - j0 >= COPY_A_FROM * NR and is_far(g, scratch))
    cdef real *copied_a = scratch + min(g.k, deep) * padded
    cdef const real *copies = scratch
    cdef part_t part
    if not all_copied:
        padded = NR
    store(<real *> part.check, splat(0.0, like))
    while True:                      # once even where k is 0: the epilogue writes c
        k1 = min(k0 + deep, g.k)
        if g.packed != NULL:
            copies = <const real *> g.packed + k0 * padded
        else:
            copy_columns(g, k0, k1, j0, j1, all_copied, scratch, like)
        part.i0 = i0
        while part.i0 < i1:
            part.rows, part.k0 = min(rows, i1 - part.i0), k0
            while True:
                part.depth = min(depth, k1 - part.k0)
                part.a, part.starts, part.steps = g.a, g.starts + part.i0, g.steps + part.k0
                if copies_a:
                    copy_block(g, &part, copied_a, like)
                block(g, &part, j0, j1, copies + (part.k0 - k0) * padded, all_copied, like)
                part.k0 += part.depth
                if part.k0 >= k1:
                    break
            if k1 == g.k:
                sweep(g, part.i0, part.i0 + part.rows, j0, j1, scratch)
            part.i0 += part.rows
        k0 = k1
        if k0 >= g.k:
            break
    note(g, &part, scratch, like)


cdef Py_ssize_t panel_width(const real *like) noexcept nogil:
    """NR: columns of a panel."""
    return NV * (lanes(splat_f32(0)) if real is float else lanes(splat_f64(0)))


cdef Py_ssize_t scratch_size(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const real *like) noexcept nogil:
    """Numbers that `gemm` copies panels of b and a block of a into, for an m x k by k x n product or a smaller one.

    Room for the block is always there: rows that are gathered are known only when a plan runs.
    """
    cdef Py_ssize_t NR = panel_width(like)
    cdef Py_ssize_t numbers = max(1, min(k, DEEP if m > MC else KC)) * ((min(n, PANELS * NR) + NR - 1) // NR * NR)
    numbers += (min(m, MC) + MR - 1) // MR * MR * (KC + PAD)
    numbers = max(numbers, min(n, ALONG * NR))
    return (numbers + 15) // 16 * 16


cdef Py_ssize_t packed_size(const gemm_t *g, const real *like) noexcept nogil:
    """Numbers that `pack` copies; 0 if there are none, or too many columns."""
    cdef Py_ssize_t NR = panel_width(like), panels = 1 if g.n % NR > 0 else 0
    if g.n > PANELS * NR:
        return 0
    if copies_b(g, g.m, like):
        panels += g.n // NR
    return g.k * panels * NR


cdef void pack(gemm_t *g, real *to) noexcept nogil:
    """Copies the panels of b that any `gemm` of these rows would, for all of them."""
    if real is float:
        copy_columns(g, 0, g.k, 0, g.n, copies_b(g, g.m, to), to, splat_f32(0))
    else:
        copy_columns(g, 0, g.k, 0, g.n, copies_b(g, g.m, to), to, splat_f64(0))
    g.packed = to


cdef inline void gemm_over(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch,
                           vec like) noexcept nogil:
    cdef bint single = i1 - i0 == 1 and not g.b_transposed
    cdef Py_ssize_t j = j0, end
    while j < j1:
        end = min(j + (ALONG if single else PANELS) * NV * lanes(like), j1)
        if single:
            single_row(g, i0, j, end - j, scratch, like)
        else:
            columns(g, i0, i1, j, end, scratch, like)
        j = end


cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch) noexcept nogil:
    """Rows i0 .. i1 and columns j0 .. j1 of c, epilogue included.

    `scratch`, scratch_size() numbers of this thread's own, is where panels and blocks are copied if that pays.
    """
    if i0 < i1:
        if real is float:
            gemm_over(g, i0, i1, j0, j1, scratch, splat_f32(0))
        else:
            gemm_over(g, i0, i1, j0, j1, scratch, splat_f64(0))


cdef void gemm_pieces(const gemm_t *g, pieces_t pieces, real *scratch) noexcept nogil:
    """What this member takes of c: columns where b is copied and wide, so that no two copy the same; else rows."""
    cdef Py_ssize_t first, last, at, total, least, NR = panel_width(scratch)
    cdef double work = <double> g.m * g.n * g.k
    cdef bint by_columns = g.m < pieces.team * MR or (copies_b(g, g.m, scratch) and g.n >= 4 * pieces.team * NR)
    if by_columns:
        # a single row reads b as fast as memory gives it: best from end to end
        least = g.n if g.m == 1 else (COPY_A_FROM if is_far(g, scratch) else 2) * NR
        total = cut(pieces.team, g.n, least, work)
    else:
        total = cut(pieces.team, g.m, COPY_B_FROM, work)
    while True:
        at = take(&pieces, total)
        if at < 0:
            return
        if by_columns:
            share(g.n, NR, at, total, &first, &last)
            gemm(g, 0, g.m, first, last, scratch)
        else:
            share(g.m, MR, at, total, &first, &last)
            gemm(g, first, last, 0, g.n, scratch)
