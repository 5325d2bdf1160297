"""The schedule: how a team of threads goes through the operations of a plan.

Operations run one by one, each shared by the whole team, or in a fused group: each thread takes some rows of the batch
through all operations of the group while these rows are in cache.
"""
from cython.parallel cimport parallel
from libc.string cimport memset

from .nn_optimizers cimport LARGE
from .plan_autotune cimport autotune_t, chooses_team, matches, now, record_time
from .plan_chunks cimport STRIDE, chunks_of, chunks_t, claim, n_chunks
from .plan_dispatch cimport prepacked_t, run_rows, run_shared
from .plan_ops cimport ABORT_IF_NONFINITE, WEIGHT, X, op_t, run_t
from .plan_update cimport stays_finite
from .simd cimport MR, enter_fp, leave_cpu, leave_fp, real, share, team_barrier, team_size, this_cpu, thread_id

cdef enum:
    GROUP_ROWS = 128             # rows that go through a fused group at a time: enough for packing a kernel to pay
    MIN_CHUNK_ROWS = 48          # of a chunk of a fused group, for the same reason
    TEAM_MIN_SAVING = 16         # grains of work that a team must save to be worth its start,
    TEAM_SURE_FACTOR = 16        # and how many times as many until no timing is needed

# Multiply-adds for which one more thread of a running team joins: with less, the barrier costs more than it brings.
cdef double GRAIN = 12000.0


cdef inline double cost_of(const op_t *ops, Py_ssize_t n, const run_t *run) noexcept nogil:
    """Return the multiply-adds of n operations over the batch."""
    cdef double cost = 0
    cdef Py_ssize_t i
    for i in range(n):
        cost += ops[i].head.cost + ops[i].head.row_cost * run.batch
    return cost


cdef inline int threads_for(const op_t *ops, Py_ssize_t n, const run_t *run, int team) noexcept nogil:
    """Return how many threads of the team these operations keep busy."""
    return <int> max(1.0, min(<double> team, cost_of(ops, n, run) / GRAIN))


cdef inline Py_ssize_t group_size(const op_t *ops, Py_ssize_t n, const run_t *run, int team) noexcept nogil:
    """Return how many operations run together: those of a fused group, if each thread gets rows, else one."""
    cdef Py_ssize_t i = 0
    while i < n and ops[i].head.fused and run.batch >= team * MR:
        i += 1
    return max(i, 1)


cdef void run_group(const op_t *ops, Py_ssize_t n, run_t *run, chunks_t chunks, const real *like) noexcept nogil:
    """Take some rows at a time through all operations of a fused group; no row meets another on the way."""
    cdef Py_ssize_t i, at, first, last, end
    cdef Py_ssize_t total = n_chunks(chunks.team, run.batch, MIN_CHUNK_ROWS, cost_of(ops, n, run))
    cdef prepacked_t prepacked
    cdef prepacked_t *reused = NULL     # with a single row block, GEMM packs on the fly
    prepacked.first = True
    if total > chunks.team or run.batch > total * GROUP_ROWS:
        reused = &prepacked
    while True:
        at = claim(&chunks, total)
        if at < 0:
            return
        share(run.batch, MR, at, total, &first, &last)
        while first < last:
            end = min(first + GROUP_ROWS, last)
            prepacked.numbers = 0
            for i in range(n):
                run_rows(&ops[i], run, first, end, chunks.tid, reused, like)
            prepacked.first = False
            first = end


cdef inline bint aborts(const op_t *op, run_t *run, int tid, int team) noexcept nogil:
    """Return whether the run ends here: a number was not finite, or the update might give one; all threads agree."""
    cdef Py_ssize_t k
    if op.abort_if_nonfinite.updates and not stays_finite(op + 1, run):
        if tid == 0:                    # the others don't look at its note: they have found the same
            run.bad[0] |= LARGE
        return True
    for k in range(team):
        if run.bad[k]:
            return True
    return False


cdef void run_thread(const op_t *ops, Py_ssize_t n, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Run one thread's part of all operations; where one says so, all threads leave if a number was not finite."""
    cdef Py_ssize_t i = 0, count
    cdef unsigned long fp = enter_fp()
    cdef int active
    cdef Py_ssize_t *claimed
    if tid > 0:
        leave_cpu(run.cpu, team)
    while i < n:
        count = group_size(&ops[i], n - i, run, team)
        active = threads_for(&ops[i], count, run, team)
        claimed = run.claimed + i * team * STRIDE
        if tid < active:
            if count > 1:
                run_group(&ops[i], count, run, chunks_of(claimed, tid, active), like)
            else:
                run_shared(&ops[i], run, tid, active, claimed, like)
        i += count
        if team > 1 and (ops[i - 1].head.barrier or i == n):     # the last too: OpenMP's own barrier spins for longer
            team_barrier(&run.barrier, team)
        if ops[i - 1].head.code == ABORT_IF_NONFINITE and aborts(&ops[i - 1], run, tid, team):
            break
    leave_fp(fp)


cdef void start(run_t *run, const real *like) noexcept nogil:
    """Prepare a step: offsets of the rows of x, whether these have gaps, and the sum of the weights."""
    cdef Py_ssize_t i
    cdef const real *weights = <const real *> run.base[WEIGHT]
    run.gathered = False
    for i in range(run.batch):
        run.x_offsets[i] = run.index[i] * run.ld[X]
        run.gathered |= run.index[i] != run.index[0] + i
    run.weight = <double> run.batch
    if weights != NULL:
        run.weight = 0
        for i in range(run.batch):
            run.weight += weights[run.index[i]]


cdef double saving(const op_t *ops, Py_ssize_t n, const run_t *run, int threads) noexcept nogil:
    """Return the multiply-adds that a team would take over from its first thread."""
    cdef Py_ssize_t i = 0, count
    cdef double saved = 0
    while i < n:
        count = group_size(&ops[i], n - i, run, threads)
        saved += cost_of(&ops[i], count, run) * (1.0 - 1.0 / threads_for(&ops[i], count, run, threads))
        i += count
    return saved


cdef inline int team_for(const op_t *ops, Py_ssize_t n, const run_t *run, int threads) noexcept nogil:
    """Return the size of the team that runs these operations: `threads`, or 1 where that is faster.

    Nothing between: OpenMP ends threads when a team shrinks, and makes new ones when it grows.
    """
    return 1 if saving(ops, n, run, threads) <= TEAM_MIN_SAVING * GRAIN else threads


cdef void schedule(const op_t *ops, Py_ssize_t n, const run_t *run, int threads, Py_ssize_t *fused,
                   Py_ssize_t *threads_of) noexcept nogil:
    """Tell how `run_ops` would run each operation: whether in a fused group, and by how many threads."""
    cdef Py_ssize_t i = 0, k, count
    cdef int team = team_for(ops, n, run, threads)
    while i < n:
        count = group_size(&ops[i], n - i, run, team)
        for k in range(i, i + count):
            fused[k] = count > 1
            threads_of[k] = threads_for(&ops[i], count, run, team)
        i += count


cdef void run_team(const op_t *ops, Py_ssize_t n, run_t *run, int threads, const real *like) noexcept nogil:
    """Run the operations on a team, in one parallel region."""
    run.cpu = this_cpu()
    memset(run.claimed, 0, n * threads * STRIDE * sizeof(Py_ssize_t))
    with parallel(num_threads=threads):
        run_thread(ops, n, run, thread_id(), team_size(), like)


cdef void run_ops(const op_t *ops, Py_ssize_t n, run_t *run, int threads, autotune_t *tuner,
                  const real *like) noexcept nogil:
    """Run the operations on a team of `threads`, or on this thread alone, without a region, where that is faster."""
    cdef double saved = saving(ops, n, run, threads) if threads > 1 else 0.0, begun
    cdef bint team
    if saved <= TEAM_MIN_SAVING * GRAIN:
        run_thread(ops, n, run, 0, 1, like)
    elif saved > TEAM_SURE_FACTOR * TEAM_MIN_SAVING * GRAIN or not matches(tuner, ops, n, run.batch, threads):
        run_team(ops, n, run, threads, like)
    else:
        begun, team = now(), chooses_team(tuner)
        if team:
            run_team(ops, n, run, threads, like)
        else:
            run_thread(ops, n, run, 0, 1, like)
        record_time(tuner, team, now() - begun)


def set_grain(double multiply_adds):
    """Set the work for which one more thread joins, and return what it was: for tests and tuning. No bit changes."""
    global GRAIN
    before = GRAIN
    GRAIN = multiply_adds
    return before
