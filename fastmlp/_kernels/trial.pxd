"""Whether a run of operations is faster alone or on a team, where the model of cost leaves that open: found by trying.

What a team costs depends on how far apart its processors are and on what else they do, and that changes while a program
runs. So both are timed at the start and now and then again; the bits of a result don't depend on it.
"""
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef enum:
    TRIAL = 4            # runs of either kind at the start; a kind's first is not counted, its threads may be asleep
    PERIOD = 256         # runs from one look at what is not the choice to the next
    OTHERS = 16          # runs of another shape in a row before it is that one that is timed

cdef struct trial_t:
    const void *ops              # the shape: operations, rows and threads
    Py_ssize_t n, batch
    int threads
    Py_ssize_t others, runs
    double[2] seconds            # of runs alone and on a team, about; 0 where none was timed


cdef inline double now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double> t.tv_sec + 1e-9 * <double> t.tv_nsec


cdef inline bint is_of(trial_t *t, const void *ops, Py_ssize_t n, Py_ssize_t batch, int threads) noexcept nogil:
    """Whether the trial is of this shape; it becomes so if others have come often enough."""
    if t.ops == ops and t.n == n and t.batch == batch and t.threads == threads:
        t.others = 0
        return True
    t.others += 1
    if t.runs > 0 and t.others < OTHERS:
        return False
    t.ops, t.n, t.batch, t.threads = ops, n, batch, threads
    t.others = t.runs = 0
    t.seconds[0] = t.seconds[1] = 0
    return True


cdef inline bint with_team(const trial_t *t) noexcept nogil:
    """Whether the next run is one on a team."""
    cdef bint faster = t.seconds[1] <= t.seconds[0]
    if t.runs < 2 * TRIAL:
        return t.runs < TRIAL
    return not faster if t.runs % PERIOD < 2 else faster


cdef inline void note_time(trial_t *t, bint team, double seconds) noexcept nogil:
    """A run that was disturbed counts as twice the usual at most."""
    cdef double known = t.seconds[team]
    cdef bint first = t.runs % TRIAL == 0 if t.runs < 2 * TRIAL else t.runs % PERIOD == 0
    t.runs += 1
    if first:
        return
    t.seconds[team] = known + (min(seconds, 2 * known) - known) / 4 if known > 0 else seconds
