"""Work that a team shares piece by piece.

Each member takes the pieces of its own share, then those that others have left: processors are not equally fast, be it
that another program runs on one, or that another machine's work shares its core. Who takes which changes no bit.
"""
from .simd cimport fetch_add

cdef enum:
    PIECES = 4           # of a member's share, at most
    APART = 8            # counters, so that no two lie on one cache line
    LEAST = 64000        # multiply-adds of a piece: some microseconds

cdef struct pieces_t:
    Py_ssize_t *taken    # how many of each member's pieces are, APART from one to the next; zeros before the first
    int me, team
    int whose            # the member whose pieces are taken, counted from me


cdef inline pieces_t pieces_of(Py_ssize_t *taken, int me, int team) noexcept nogil:
    """For one piece of work: all members come with the same counters."""
    cdef pieces_t p
    p.taken, p.me, p.team, p.whose = taken, me, team, 0
    return p


cdef inline Py_ssize_t cut(int team, Py_ssize_t n, Py_ssize_t least, double work) noexcept nogil:
    """Into how many pieces: as many for each member, of `least` of the n numbers or more, and not too little work."""
    cdef Py_ssize_t share = min(<Py_ssize_t> PIECES, n // (team * least))
    share = min(share, <Py_ssize_t> (work / (<double> team * LEAST)))
    return team * max(share, 1) if team > 1 else 1


cdef inline Py_ssize_t take(pieces_t *p, Py_ssize_t total) noexcept nogil:
    """The next of 0 .. total - 1 that nobody has taken, -1 if there is none."""
    cdef Py_ssize_t at, member
    while p.whose < p.team:
        if p.team == 1:
            p.whose = 1
            return 0
        member = (p.me + p.whose) % p.team
        at = total * member // p.team + fetch_add(&p.taken[member * APART])
        if at < total * (member + 1) // p.team:
            return at
        p.whose += 1
    return -1
