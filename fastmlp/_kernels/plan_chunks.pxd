"""Work stealing: an operation is cut into chunks, which the threads of a team claim one by one.

Each thread claims the chunks of its own share first, then those that others have left: processors are not equally fast,
because another program may run on one, or share its core. Which thread computes a chunk changes no bit of the result.
"""
from .simd cimport fetch_add

cdef enum:
    CHUNKS_PER_THREAD = 4    # at most
    MIN_CHUNK_COST = 64000   # multiply-adds: some microseconds
    STRIDE = 8               # between the counters of two threads, in numbers: each counter has a cache line of its own

cdef struct chunks_t:
    Py_ssize_t *claimed      # for each thread the number of its chunks that are claimed; zeros before the first claim
    int tid, team            # this thread, and how many there are
    int victim               # whose chunks are claimed now, counted from this thread


cdef inline chunks_t chunks_of(Py_ssize_t *claimed, int tid, int team) noexcept nogil:
    """Return this thread's view of the chunks of one operation; all threads pass the same counters."""
    cdef chunks_t chunks
    chunks.claimed, chunks.tid, chunks.team, chunks.victim = claimed, tid, team, 0
    return chunks


cdef inline Py_ssize_t n_chunks(int team, Py_ssize_t n, Py_ssize_t least, double cost) noexcept nogil:
    """Return into how many chunks n items of this cost are cut: as many for each thread, of `least` items or more."""
    cdef Py_ssize_t each = min(<Py_ssize_t> CHUNKS_PER_THREAD, n // (team * least))
    each = min(each, <Py_ssize_t> (cost / (<double> team * MIN_CHUNK_COST)))
    return team * max(each, 1) if team > 1 else 1


cdef inline Py_ssize_t claim(chunks_t *chunks, Py_ssize_t total) noexcept nogil:
    """Return the next of 0 .. total - 1 that no thread has claimed, or -1 if there is none."""
    cdef Py_ssize_t at, thread
    while chunks.victim < chunks.team:
        if chunks.team == 1:
            chunks.victim = 1
            return 0
        thread = (chunks.tid + chunks.victim) % chunks.team
        at = total * thread // chunks.team + fetch_add(&chunks.claimed[thread * STRIDE])
        if at < total * (thread + 1) // chunks.team:
            return at
        chunks.victim += 1
    return -1
