"""How a team of threads goes through the operations of a plan: together from one to the next, or each with rows of its
own through several."""
from cython.parallel cimport parallel
from libc.string cimport memset

from .operands cimport GATE, WEIGHT, X, op_t, run_t
from .passes cimport kept_t, rows_op, shared_op
from .pieces cimport APART, cut, pieces_of, pieces_t, take
from .simd cimport (
    MR, enter_fp, leave_cpu, leave_fp, real, share, team_barrier, team_member, team_size, this_cpu
)
from .trial cimport is_of, note_time, now, trial_t, with_team

cdef enum:
    WALK = 128                   # rows of a walk: enough of them that copying the panels of a kernel pays
    ROWS = 48                    # that a piece of a walk should have, for the same reason
    START = 16                   # grains that a team must save of a run to be worth its start,
    DOUBT = 16                   # and how many times as many until that is beyond doubt

# Multiply-adds that a member of a running team should have, or the barrier costs more than it brings.
cdef double GRAIN = 12000.0


cdef inline double cost_of(const op_t *ops, Py_ssize_t n, const run_t *run) noexcept nogil:
    cdef double cost = 0
    cdef Py_ssize_t i
    for i in range(n):
        cost += ops[i].cost + ops[i].row_cost * run.batch
    return cost


cdef inline int team_for(const op_t *ops, Py_ssize_t n, const run_t *run, int team) noexcept nogil:
    """Members that these operations keep busy."""
    return <int> max(1.0, min(<double> team, cost_of(ops, n, run) / GRAIN))


cdef inline Py_ssize_t group(const op_t *ops, Py_ssize_t n, const run_t *run, int team) noexcept nogil:
    """How many operations from the first on go together: those of a walk, if there are rows for all, else one."""
    cdef Py_ssize_t i = 0
    while i < n and ops[i].walk and run.batch >= team * MR:
        i += 1
    return max(i, 1)


cdef void walk(const op_t *ops, Py_ssize_t n, run_t *run, pieces_t pieces, const real *like) noexcept nogil:
    """Some rows at a time through all the operations, while they are in cache; a row meets no other on the way."""
    cdef Py_ssize_t i, at, first, last, end, total = cut(pieces.team, run.batch, ROWS, cost_of(ops, n, run))
    cdef kept_t kept
    cdef kept_t *several = NULL     # who takes rows only once copies as it goes
    kept.first = True
    if total > pieces.team or run.batch > total * WALK:
        several = &kept
    while True:
        at = take(&pieces, total)
        if at < 0:
            return
        share(run.batch, MR, at, total, &first, &last)
        while first < last:
            end = min(first + WALK, last)
            kept.numbers = 0
            for i in range(n):
                rows_op(&ops[i], run, first, end, pieces.me, several, like)
            kept.first = False
            first = end


cdef void member(const op_t *ops, Py_ssize_t n, run_t *run, int me, int team, const real *like) noexcept nogil:
    """What one member of the team does; all leave before the update if one has found a NaN."""
    cdef Py_ssize_t i = 0, k, count
    cdef unsigned long fp = enter_fp()
    cdef int active
    cdef Py_ssize_t *taken
    if me > 0:
        leave_cpu(run.cpu, team)
    while i < n:
        count = group(&ops[i], n - i, run, team)
        active = team_for(&ops[i], count, run, team)
        taken = run.taken + i * team * APART
        if me < active:
            if count > 1:
                walk(&ops[i], count, run, pieces_of(taken, me, active), like)
            else:
                shared_op(&ops[i], run, me, active, taken, like)
        i += count
        if team > 1 and (ops[i - 1].barrier or i == n):     # the last too: OpenMP's own would keep others off a processor
            team_barrier(&run.barrier, team)
        if ops[i - 1].code == GATE:
            for k in range(team):
                if run.bad[k]:
                    leave_fp(fp)
                    return
    leave_fp(fp)


cdef void start(run_t *run, const real *like) noexcept nogil:
    """What a step needs before its first operation: row offsets, whether they are gathered, and the sum of the weights."""
    cdef Py_ssize_t i
    cdef const real *weights = <const real *> run.base[WEIGHT]
    run.gathered = False
    for i in range(run.batch):
        run.x_starts[i] = run.index[i] * run.ld[X]
        run.gathered |= run.index[i] != run.index[0] + i
    run.weight = <double> run.batch
    if weights != NULL:
        run.weight = 0
        for i in range(run.batch):
            run.weight += weights[run.index[i]]


cdef double saving(const op_t *ops, Py_ssize_t n, const run_t *run, int threads) noexcept nogil:
    """Multiply-adds that a team would spare its first member."""
    cdef Py_ssize_t i = 0, count
    cdef double saved = 0
    while i < n:
        count = group(&ops[i], n - i, run, threads)
        saved += cost_of(&ops[i], count, run) * (1.0 - 1.0 / team_for(&ops[i], count, run, threads))
        i += count
    return saved


cdef inline int team_of(const op_t *ops, Py_ssize_t n, const run_t *run, int threads) noexcept nogil:
    """The size of the team that runs these operations: `threads`, or 1 where that is faster.

    One or all: OpenMP ends threads when a team shrinks, and makes new ones when it grows.
    """
    return 1 if saving(ops, n, run, threads) <= START * GRAIN else threads


cdef void regimes(const op_t *ops, Py_ssize_t n, const run_t *run, int threads, Py_ssize_t *walks,
                  Py_ssize_t *members) noexcept nogil:
    """How `run_ops` goes through them: whether each walks with others, and how many members take part."""
    cdef Py_ssize_t i = 0, k, count
    cdef int team = team_of(ops, n, run, threads)
    while i < n:
        count = group(&ops[i], n - i, run, team)
        for k in range(i, i + count):
            walks[k] = count > 1
            members[k] = team_for(&ops[i], count, run, team)
        i += count


cdef void together(const op_t *ops, Py_ssize_t n, run_t *run, int threads, const real *like) noexcept nogil:
    """The operations on a team, in one parallel region."""
    run.cpu = this_cpu()
    memset(run.taken, 0, n * threads * APART * sizeof(Py_ssize_t))
    with parallel(num_threads=threads):
        member(ops, n, run, team_member(), team_size(), like)


cdef void run_ops(const op_t *ops, Py_ssize_t n, run_t *run, int threads, trial_t *trial, const real *like) noexcept nogil:
    """The operations on a team of `threads`; alone, and without a parallel region, where that is faster."""
    cdef double saved = saving(ops, n, run, threads) if threads > 1 else 0.0, begun
    cdef bint team
    if saved <= START * GRAIN:
        member(ops, n, run, 0, 1, like)
    elif saved > DOUBT * START * GRAIN or not is_of(trial, ops, n, run.batch, threads):
        together(ops, n, run, threads, like)
    else:
        begun, team = now(), with_team(trial)
        if team:
            together(ops, n, run, threads, like)
        else:
            member(ops, n, run, 0, 1, like)
        note_time(trial, team, now() - begun)


def set_grain(double multiply_adds):
    """Sets the work from which a member joins, for tests and tuning; returns what it was. Changes times, no bit."""
    global GRAIN
    before = GRAIN
    GRAIN = multiply_adds
    return before
