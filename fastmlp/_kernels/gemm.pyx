"""GEMM: c = a b, with what follows fused (bias, batch norm's affine map, activation; or the activation's derivative).

A tile of MR rows and NV vectors of columns stays in registers while k runs. An element is the sum over blocks of k of
chains of fused multiply-adds, both in ascending order of k, whatever the tile, the packing or the threads: its bits
depend on its row of `a` and its column of `b` alone.

Blocking follows BLIS, and the loops have its names: jc over NC columns, pc over PACK_DEPTH steps of k, ic over MC rows,
jr over panels of NR columns, ir over tiles of MR rows. A panel of `b`, KC x NR, stays in L1 while the tiles of a block
of `a` pass over it; where k has several blocks, c carries the partial sums, and NC columns of c, few enough for L2, go
through all of them before the next.
"""
from libc.string cimport memcpy

from .gemm_epilogue cimport (
    GENERIC, activation_pass, block_depth, block_t, epilogue_generic, epilogue_of, epilogue_t, epilogue_whole,
    note_magnitude, prepare_epilogue
)
from .gemm_gemv cimport gemv
from .gemm_microkernel cimport HAS_ASM, has_asm, is_whole_tile, microkernel
from .gemm_pack cimport pack_panels, pack_transposed_panels
from .plan_chunks cimport chunks_t, claim, n_chunks
from .simd cimport (
    KC, MR, NV, TILE, columnwise, lanes, launder, load, load_n, narrow, noinline_void, order_t, prefetch, real, rows_1,
    rows_2, rows_4, rows_full, rows_t, rowwise, share, splat, splat_f32, splat_f64, store, vec, wide, width_t
)

cdef enum:
    MC = 96                 # most rows of a block of a; a multiple of 6 and 8
    NC_PANELS = 32          # NC in panels: so many columns of c stay in L2, beside a block of a, for all blocks of k
    GEMV_PANELS = 128       # the same for a single row
    PACK_DEPTH = 1024       # most steps of k for which panels of b are packed at once; a multiple of blocks of k
    PAD = 16                # numbers that keep the rows of a packed block from sharing cache sets
    A_PANEL_STRIDE = MR * KC + PAD  # between packed panels of a's transpose; the last vector may need the room
    PACK_A_STRIDE = 4096    # bytes from row to row of a: a block is packed where they are a multiple, see a_is_far;
    PACK_AT_STRIDE = 2048   # from number to number of a row of its transpose, where they are as many;
    PACK_B_STRIDE = 512     # from row to row of b: with as many, a panel would share too few cache sets to stay in L1
    PACK_A_MIN_PANELS = 8   # panels of b that a block of a must meet before packing it pays
    PACK_B_MIN_ROWS = 48    # rows of a that a panel of b must meet
    PREFETCH_C_DEPTH = 128  # steps of k from which the cache lines of c are prefetched before the first

# Offsets into a packed block of a. Element (i, k) lies at packed_row_offsets[i] + packed_k_offsets[k]; that of a
# transpose, which is packed into panels of MR rows that a tile reads from end to end, at panel_row_offsets[i] +
# panel_k_offsets[k].
cdef Py_ssize_t[MC] packed_row_offsets
cdef Py_ssize_t[MC] panel_row_offsets
cdef Py_ssize_t[KC] packed_k_offsets
cdef Py_ssize_t[KC] panel_k_offsets
for at in range(MC):
    packed_row_offsets[at] = at * (KC + PAD)
    panel_row_offsets[at] = at // MR * A_PANEL_STRIDE + at % MR
for at in range(KC):
    packed_k_offsets[at] = at
    panel_k_offsets[at] = at * MR


cdef noinline_void epilogue_columns(const gemm_t *g, block_t *block, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc,
                                    const real *scalar, const rows_t *height) noexcept nogil:
    """Call `epilogue_generic`: one body for tiles of either width and order."""
    epilogue_generic(g, block, i, j, n, acc, scalar, height)


cdef inline void epilogue_by_columns(const gemm_t *g, block_t *block, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n,
                                     const vec *acc, const real *scalar, const rows_t *height,
                                     const width_t *width) noexcept nogil:
    """Finish a tile vector by vector, from a copy that is made at once: so the tile itself needs no memory."""
    cdef Py_ssize_t r, v, W = lanes(acc[0])
    cdef vec[TILE] columns
    for v in range(sizeof(width_t)):
        for r in range(sizeof(rows_t)):
            columns[v * sizeof(rows_t) + r] = acc[r * sizeof(width_t) + v]
    for v in range(sizeof(width_t)):
        epilogue_columns(g, block, i, j + v * W, min(W, n - v * W), columns + v * sizeof(rows_t), scalar, height)


cdef noinline_void microtiles(const gemm_t *g, block_t *block, Py_ssize_t first, Py_ssize_t last, Py_ssize_t j,
                              Py_ssize_t n, const real *b, Py_ssize_t ldb, vec like, const rows_t *height,
                              const width_t *width, const order_t *order) noexcept nogil:
    """Compute tiles of sizeof(rows_t) rows of c, from row `first` of the block on; n columns from j, or whole vectors.

    One loop stands around it all: the compiler unrolls only what is inside another loop early enough to keep `acc` in
    registers.
    """
    cdef vec[TILE] acc
    cdef const real *a = <const real *> block.a
    cdef real *c = <real *> g.c + (block.i0 + first) * g.ldc + j
    cdef real *at
    cdef const Py_ssize_t *row_offsets = block.row_offsets + first
    cdef const Py_ssize_t *k_offsets = block.k_offsets
    cdef Py_ssize_t v, i, _row, depth = block.depth, ldc = g.ldc, stride = 0
    cdef int kind = GENERIC
    cdef bint adds = False
    cdef epilogue_t end
    if is_whole_tile(height, width) and n == NV * lanes(like):
        kind = epilogue_of(g, block)
        adds = kind != GENERIC and block.k0 != 0
        prepare_epilogue(g, block, j, b, &end, like)
    if depth > 0 and (order_t is rowwise or has_asm(height, width)):
        a += k_offsets[0]
    if depth > 1 and order_t is columnwise:
        stride = k_offsets[1] - k_offsets[0]
    for i from first <= i < last by sizeof(rows_t):
        if depth >= PREFETCH_C_DEPTH:
            at = <real *> launder(c)
            for _row in range(sizeof(rows_t)):
                for v in range(sizeof(width_t)):
                    prefetch(at + v * lanes(like))
                at += ldc
        microkernel(acc, a, row_offsets, k_offsets, stride, depth, b, ldb, c if adds else NULL, ldc, like, height, width,
                    order)
        if is_whole_tile(height, width) and kind != GENERIC:
            epilogue_whole(g, block, kind, block.i0 + i, j, c, acc, &end, like, height)
        else:
            epilogue_by_columns(g, block, block.i0 + i, j, n, acc, b, height, width)
        row_offsets += sizeof(rows_t)
        c += <Py_ssize_t> sizeof(rows_t) * ldc


cdef inline void loop_ir(const gemm_t *g, block_t *block, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                         vec like, const width_t *width, const order_t *order) noexcept nogil:
    """Compute all rows of the block; those that fill no tile of MR go by tiles of 4, 2 and 1, so none is padded."""
    cdef Py_ssize_t i = block.rows // MR * MR, fours
    # In assembler, 8 rows are faster as 4 and 4: 2 would wait for their sums. Packed panels are MR rows wide.
    if (HAS_ASM and width_t is wide and i > 0 and 2 <= block.rows - i < 4
            and (order_t is rowwise or block.a == g.a)):
        i -= MR
    if i > 0:
        microtiles(g, block, 0, i, j, n, b, ldb, like, <const rows_full *> NULL, width, order)
    if block.rows - i >= 4:
        fours = i + (block.rows - i) // 4 * 4
        microtiles(g, block, i, fours, j, n, b, ldb, like, <const rows_4 *> NULL, width, order)
        i = fours
    if block.rows - i >= 2:
        microtiles(g, block, i, i + 2, j, n, b, ldb, like, <const rows_2 *> NULL, width, order)
        i += 2
    if block.rows - i >= 1:
        microtiles(g, block, i, i + 1, j, n, b, ldb, like, <const rows_1 *> NULL, width, order)


cdef inline bint packs_b(const gemm_t *g, Py_ssize_t rows, const real *like) noexcept nogil:
    """Return whether all panels of b are packed: always a transpose's, else where b's rows lie apart and many rows of a
    meet them; all rows of c count, where panels are packed for all of them."""
    if g.packed != NULL:
        rows = g.m
    return g.b_transposed or (g.ldb * <Py_ssize_t> sizeof(real) >= PACK_B_STRIDE and rows >= PACK_B_MIN_ROWS)


cdef inline void panel_by_order(const gemm_t *g, block_t *block, Py_ssize_t j, Py_ssize_t n, const real *b,
                                Py_ssize_t ldb, vec like, const order_t *order) noexcept nogil:
    """Compute columns j .. j + n, n at most NR, of which b is the first; columns beyond them are computed, not kept."""
    if n > lanes(like):
        loop_ir(g, block, j, n, b, ldb, like, <const wide *> NULL, order)
    else:
        loop_ir(g, block, j, n, b, ldb, like, <const narrow *> NULL, order)


cdef inline void panel(const gemm_t *g, block_t *block, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                       vec like) noexcept nogil:
    """Compute one panel of columns, by how a lies in memory."""
    if g.a_transposed:
        panel_by_order(g, block, j, n, b, ldb, like, <const columnwise *> NULL)
    else:
        panel_by_order(g, block, j, n, b, ldb, like, <const rowwise *> NULL)


cdef inline void pack_a_column(const real *row, Py_ssize_t n, real *to, vec like) noexcept nogil:
    """Pack one step of k of a's transpose: MR neighbours to each panel; a vector's other lanes are overwritten later."""
    cdef Py_ssize_t v, W = lanes(like), vectors = (MR + W - 1) // W
    while n >= vectors * W:
        for v in range(vectors):
            store(to + v * W, load(row + v * W, like))
        row += MR
        to += A_PANEL_STRIDE
        n -= MR
    while n > 0:
        for v in range(vectors):
            if n > v * W:
                store(to + v * W, load_n(row + v * W, min(W, n - v * W), like))
        row += MR
        to += A_PANEL_STRIDE
        n -= MR


cdef inline void pack_a(const gemm_t *g, block_t *block, real *to, vec like) noexcept nogil:
    """Pack the block of a: its rows, or its transpose cut into panels of MR rows."""
    cdef const real *a = <const real *> g.a
    cdef Py_ssize_t i, k
    if not g.a_transposed:
        for i in range(block.rows):
            memcpy(to + packed_row_offsets[i], a + g.row_offsets[block.i0 + i] + g.k_offsets[block.k0],
                   block.depth * sizeof(real))
        block.row_offsets, block.k_offsets = packed_row_offsets, packed_k_offsets
    else:
        for k in range(block.depth):
            pack_a_column(a + g.row_offsets[block.i0] + g.k_offsets[block.k0 + k], block.rows, to + panel_k_offsets[k],
                          like)
        block.row_offsets, block.k_offsets = panel_row_offsets, panel_k_offsets
    block.a = to


cdef inline void loop_jr(const gemm_t *g, block_t *block, Py_ssize_t j0, Py_ssize_t j1, const real *packed_b,
                         bint all_b, vec like) noexcept nogil:
    """Compute the rows of the block, columns j0 .. j1; all panels of b are packed, or just the last, partial one."""
    cdef Py_ssize_t j = j0, NR = NV * lanes(like)
    cdef const real *b = <const real *> g.b + block.k0 * g.ldb
    while j < j1:
        if all_b:
            panel(g, block, j, min(NR, j1 - j), packed_b + (j - j0) * block.depth, NR, like)
        elif j1 - j >= NR:
            panel(g, block, j, NR, b + j, g.ldb, like)
        else:
            panel(g, block, j, j1 - j, packed_b, NR, like)
        j += NR


cdef inline bint a_is_far(const gemm_t *g, const real *like) noexcept nogil:
    """Return whether the cache has no room for all numbers of a that a tile takes: those of a transpose lie on many
    lines, rows at multiples of PACK_A_STRIDE share a few cache sets."""
    cdef Py_ssize_t distance = g.lda * <Py_ssize_t> sizeof(real)
    return distance >= PACK_AT_STRIDE if g.a_transposed else distance >= PACK_A_STRIDE and distance % PACK_A_STRIDE == 0


cdef noinline_void pack_b(const gemm_t *g, Py_ssize_t k0, Py_ssize_t k1, Py_ssize_t j0, Py_ssize_t j1, bint all_b,
                          real *to, vec like) noexcept nogil:
    """Pack panels of b for k0 .. k1, one block of k after another: all panels, or just the last, partial one."""
    cdef Py_ssize_t NR = NV * lanes(like), depth, most = block_depth(g.k)
    cdef const real *b = <const real *> g.b
    if not all_b:
        j0 = j1 - (j1 - j0) % NR
    while k0 < k1:
        depth = min(most, k1 - k0)
        if g.b_transposed:
            pack_transposed_panels(b + j0 * g.ldb + k0, g.ldb, depth, j1 - j0, to, like)
        else:
            pack_panels(b + k0 * g.ldb + j0, g.ldb, depth, j1 - j0, to, like)
        to += depth * ((j1 - j0 + NR - 1) // NR * NR)
        k0 += depth


cdef inline void loops_pc_ic(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch,
                             vec like) noexcept nogil:
    """Compute rows i0 .. i1 of at most NC columns, j0 .. j1, over the whole of k."""
    cdef Py_ssize_t NR = NV * lanes(like), padded = (j1 - j0 + NR - 1) // NR * NR, k0 = 0, k1
    cdef Py_ssize_t blocks = (i1 - i0 + MC - 1) // MC, rows = ((i1 - i0 + blocks - 1) // blocks + MR - 1) // MR * MR
    cdef Py_ssize_t depth = block_depth(g.k), pack_depth = PACK_DEPTH // depth * depth if blocks > 1 else depth
    cdef bint all_b = packs_b(g, i1 - i0, scratch)
    # the assembler needs one distance from step to step of k; the rest is for speed
    cdef bint packs_a = (HAS_ASM and g.gathered) or (j1 - j0 >= PACK_A_MIN_PANELS * NR and a_is_far(g, scratch))
    cdef real *packed_a = scratch + min(g.k, pack_depth) * padded
    cdef const real *packed_b = scratch
    cdef block_t block
    if not all_b:
        padded = NR
    store(<real *> block.check, splat(1.0, like))
    while True:                      # once even where k is 0: the epilogue writes c
        k1 = min(k0 + pack_depth, g.k)
        if g.packed != NULL:
            packed_b = <const real *> g.packed + k0 * padded
        else:
            pack_b(g, k0, k1, j0, j1, all_b, scratch, like)
        block.i0 = i0
        while block.i0 < i1:
            block.rows, block.k0 = min(rows, i1 - block.i0), k0
            while True:
                block.depth = min(depth, k1 - block.k0)
                block.a, block.row_offsets, block.k_offsets = g.a, g.row_offsets + block.i0, g.k_offsets + block.k0
                if packs_a:
                    pack_a(g, &block, packed_a, like)
                loop_jr(g, &block, j0, j1, packed_b + (block.k0 - k0) * padded, all_b, like)
                block.k0 += block.depth
                if block.k0 >= k1:
                    break
            if k1 == g.k:
                activation_pass(g, block.i0, block.i0 + block.rows, j0, j1, scratch)
            block.i0 += block.rows
        k0 = k1
        if k0 >= g.k:
            break
    note_magnitude(g, &block, i0, i1, j0, j1 - j0, scratch, like)


cdef Py_ssize_t panel_width(const real *like) noexcept nogil:
    """Return NR, the columns of a panel."""
    return NV * (lanes(splat_f32(0)) if real is float else lanes(splat_f64(0)))


cdef Py_ssize_t scratch_size(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const real *like) noexcept nogil:
    """Return how many numbers `gemm` needs to pack into, for an m x k by k x n product or a smaller one.

    Room for a block of a is always there: whether rows are gathered is known only when a plan runs.
    """
    cdef Py_ssize_t NR = panel_width(like)
    cdef Py_ssize_t numbers = max(1, min(k, PACK_DEPTH if m > MC else KC)) * ((min(n, NC_PANELS * NR) + NR - 1) // NR * NR)
    numbers += (min(m, MC) + MR - 1) // MR * MR * (KC + PAD)
    numbers = max(numbers, min(n, GEMV_PANELS * NR))
    return (numbers + 15) // 16 * 16


cdef Py_ssize_t prepacked_size(const gemm_t *g, const real *like) noexcept nogil:
    """Return how many numbers `prepack` packs; 0 if there is nothing to pack, or c has too many columns."""
    cdef Py_ssize_t NR = panel_width(like), panels = 1 if g.n % NR > 0 else 0
    if g.n > NC_PANELS * NR:
        return 0
    if packs_b(g, g.m, like):
        panels += g.n // NR
    return g.k * panels * NR


cdef void prepack(gemm_t *g, real *to) noexcept nogil:
    """Pack once the panels of b that every `gemm` over some of the rows would pack again."""
    if real is float:
        pack_b(g, 0, g.k, 0, g.n, packs_b(g, g.m, to), to, splat_f32(0))
    else:
        pack_b(g, 0, g.k, 0, g.n, packs_b(g, g.m, to), to, splat_f64(0))
    g.packed = to


cdef inline void loop_jc(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch,
                         vec like) noexcept nogil:
    """Compute rows i0 .. i1, NC columns at a time; a single row reads b along its rows."""
    cdef bint single = i1 - i0 == 1 and not g.b_transposed
    cdef Py_ssize_t j = j0, end
    while j < j1:
        end = min(j + (GEMV_PANELS if single else NC_PANELS) * NV * lanes(like), j1)
        if single:
            gemv(g, i0, j, end - j, scratch, like)
        else:
            loops_pc_ic(g, i0, i1, j, end, scratch, like)
        j = end


cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
               real *scratch) noexcept nogil:
    """Compute rows i0 .. i1 and columns j0 .. j1 of c, epilogue included.

    `scratch`, scratch_size() numbers of this thread's own, is where panels and blocks are packed if that pays.
    """
    if i0 < i1:
        if real is float:
            loop_jc(g, i0, i1, j0, j1, scratch, splat_f32(0))
        else:
            loop_jc(g, i0, i1, j0, j1, scratch, splat_f64(0))


cdef void gemm_chunks(const gemm_t *g, chunks_t chunks, real *scratch) noexcept nogil:
    """Compute the chunks of c that this thread claims: columns where b is packed and wide, so that no two threads pack
    the same, else rows."""
    cdef Py_ssize_t first, last, at, total, least, NR = panel_width(scratch)
    cdef double work = <double> g.m * g.n * g.k
    cdef bint by_columns = g.m < chunks.team * MR or (packs_b(g, g.m, scratch) and g.n >= 4 * chunks.team * NR)
    if by_columns:
        # a single row reads b as fast as memory gives it: best from end to end
        least = g.n if g.m == 1 else (PACK_A_MIN_PANELS if a_is_far(g, scratch) else 2) * NR
        total = n_chunks(chunks.team, g.n, least, work)
    else:
        total = n_chunks(chunks.team, g.m, PACK_B_MIN_ROWS, work)
    while True:
        at = claim(&chunks, total)
        if at < 0:
            return
        if by_columns:
            share(g.n, NR, at, total, &first, &last)
            gemm(g, 0, g.m, first, last, scratch)
        else:
            share(g.m, MR, at, total, &first, &last)
            gemm(g, first, last, 0, g.n, scratch)
