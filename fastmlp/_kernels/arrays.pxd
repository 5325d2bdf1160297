"""The arrays of a call from Python: checked against a specification, then pointers. Memoryviews of every type would take
too much code.

A specification lists them in order: `x:mn` is read, `y=mn` written, `bias?n` read or None, with a letter per axis that
is one length wherever it stands. All are of one float type but after D (double), I (index), B (byte).
"""
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memset, strchr

cdef extern from "Python.h":
    enum:
        PY_LITTLE_ENDIAN

cdef enum:
    MOST = 8        # arrays of a call

cdef struct arrays_t:
    void *at[MOST]              # NULL for None
    float *f[MOST]              # the same, in float
    double *d[MOST]             # and in double
    Py_ssize_t[26] length       # by letter, -1 where it doesn't stand
    Py_ssize_t m, n, k
    Py_ssize_t itemsize         # of the float type
    bint single


cdef inline int expect(bint condition, str what) except -1:
    """Raise ValueError unless the condition holds."""
    if not condition:
        raise ValueError(what)
    return 0


cdef inline bint holds(const Py_buffer *view, const char *formats, Py_ssize_t itemsize) noexcept:
    """Return whether numbers have one of the formats, in the machine's byte order, and that size."""
    cdef const char *format = view.format
    if format == NULL:
        return False
    if format[0] in b"@=^" or format[0] == (c"<" if PY_LITTLE_ENDIAN else c">"):
        format += 1
    return format[0] and not format[1] and strchr(formats, format[0]) != NULL and view.itemsize == itemsize


cdef inline bint fits(arrays_t *c, const Py_buffer *view, const char *listed) noexcept:
    """Return whether an array is as specified, and has lengths in common with those before it."""
    cdef Py_ssize_t *length
    cdef int axis
    cdef bint right
    if listed[0] == c"B":
        right = holds(view, "?B", 1)
    elif listed[0] == c"I":
        right = holds(view, "ilq", sizeof(Py_ssize_t))
    else:
        right = holds(view, "fdg", sizeof(double) if listed[0] == c"D" else c.itemsize)
    listed += listed[0] < c"a"
    for axis in range(view.ndim):
        if not (right and c"a" <= listed[axis] <= c"z"):
            return False
        length = &c.length[listed[axis] - c"a"]
        if length[0] < 0:
            length[0] = view.shape[axis]
        right = length[0] == view.shape[axis]
    return right and not c"a" <= listed[view.ndim] <= c"z"


cdef inline int parse(arrays_t *c, bytes listed, tuple arrays) except -1:
    """Find where the arrays lie, and their lengths; the first says which float type.

    Their buffers are released at once: the caller holds the arrays."""
    cdef Py_buffer view
    cdef const char *text = listed
    cdef char mode
    cdef int i
    cdef bint right
    memset(c, 0, sizeof(c[0]))
    memset(c.length, 255, sizeof(c.length))
    for i in range(len(arrays)):
        while text[0] not in b":=?":
            text += 1
        mode = text[0]
        text += 1
        if arrays[i] is None and mode == c"?":
            continue
        PyObject_GetBuffer(arrays[i], &view,
                           PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if mode == c"=" else 0))
        if i == 0 and view.itemsize in (sizeof(float), sizeof(double)):
            c.itemsize, c.single = view.itemsize, view.itemsize == sizeof(float)
        right = fits(c, &view, text)
        c.at[i], c.f[i], c.d[i] = view.buf, <float *> view.buf, <double *> view.buf
        PyBuffer_Release(&view)
        if not right:
            wrong = memoryview(arrays[i])
            raise ValueError("array %d has format %s and shape %s; expected %s, floats as in the first" % (
                i, wrong.format, wrong.shape, listed.decode()))
    c.m, c.n, c.k = c.length[c"m" - c"a"], c.length[c"n" - c"a"], c.length[c"k" - c"a"]
    return 0
