"""Autotune: whether a run of operations is faster on one thread or on a team, where the cost model leaves that open.

What a team costs depends on how far apart its processors are and on what else they do, and that changes while a program
runs. So both ways are timed at the start and again now and then; the bits of a result don't depend on the choice.
"""
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef enum:
    TRIALS = 4           # runs of either way at the start; the first of each is not counted: its threads may be asleep
    RETRY_EVERY = 256    # runs, after which the way that was not chosen is tried again
    SWITCH_AFTER = 16    # runs of another shape in a row, after which that shape is the one that is timed

cdef struct autotune_t:
    const void *ops              # the shape that is timed: operations, rows and threads
    Py_ssize_t n, batch
    int threads
    Py_ssize_t others, runs      # runs of other shapes since the last of this one; runs of this shape
    double[2] seconds            # running means, on one thread and on a team; 0 where none was timed


cdef inline double now() noexcept nogil:
    """Return the monotonic time in seconds."""
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double> t.tv_sec + 1e-9 * <double> t.tv_nsec


cdef inline bint matches(autotune_t *t, const void *ops, Py_ssize_t n, Py_ssize_t batch, int threads) noexcept nogil:
    """Return whether this shape is the one that is timed; it becomes that if it has come often enough."""
    if t.ops == ops and t.n == n and t.batch == batch and t.threads == threads:
        t.others = 0
        return True
    t.others += 1
    if t.runs > 0 and t.others < SWITCH_AFTER:
        return False
    t.ops, t.n, t.batch, t.threads = ops, n, batch, threads
    t.others = t.runs = 0
    t.seconds[0] = t.seconds[1] = 0
    return True


cdef inline bint chooses_team(const autotune_t *t) noexcept nogil:
    """Return whether the next run takes a team."""
    cdef bint faster = t.seconds[1] <= t.seconds[0]
    if t.runs < 2 * TRIALS:
        return t.runs < TRIALS
    return not faster if t.runs % RETRY_EVERY < 2 else faster


cdef inline void record_time(autotune_t *t, bint team, double seconds) noexcept nogil:
    """Add the time of a run to the mean of its way; a run that was disturbed counts as twice the mean at most."""
    cdef double known = t.seconds[team]
    cdef bint first = t.runs % TRIALS == 0 if t.runs < 2 * TRIALS else t.runs % RETRY_EVERY == 0
    t.runs += 1
    if first:
        return
    t.seconds[team] = known + (min(seconds, 2 * known) - known) / 4 if known > 0 else seconds
