"""The virtual machine of traced programs, elementwise and a block of numbers at a time; and native activations.

A program is a list of instructions on slots: inputs, uniform numbers, registers, outputs. An instruction goes over a
block of up to BLOCK vectors before the next one does, so that dispatch costs little and all registers stay in L1. An
element of the result depends on the elements at its place alone: where a run of numbers is cut changes no bit.

All memory of a run is on the stack, of which threads may have little: REGISTERS_DOUBLES, and a few kilobytes.
"""
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from .vm_ops cimport (
    ABS, ADD, ARCSINH, ARCTAN, AT_LEAST, COPY, COPYSIGN, COS, COSH, DIV, EQUAL, ERF, EXP, EXPM1, FMA, FMS, FNMA,
    IF_AT_LEAST, IF_EQUAL, IF_LESS, LESS, LOG, LOG1P, MAX, MIN, MUL, N_CODES, NEG, POW, ROUND, SELECT, SIGMOID, SIGN, SIN, SINH,
    SOFTPLUS, SQRT, SUB, TANH, of_more, of_one, of_two, operands
)
from .simd cimport VBYTES, lanes, load, load_n, noclone_void, real, splat, splat_f32, splat_f64, store, store_n, vec

cdef enum:
    NATIVE_CHUNK = 1024         # numbers that a native function gets at once
    DOUBLES = VBYTES // 8       # numbers of double in a vector
    REGISTERS_DOUBLES = 2048    # 16 kB for all registers of a program; where it has many, blocks are shorter


cdef int[N_CODES] OPERANDS
for _code in range(N_CODES):
    OPERANDS[_code] = operands(_code)


cdef noclone_void block(const program_t *p, real **at, const Py_ssize_t *step, Py_ssize_t n, vec like) noexcept nogil:
    """Run all instructions over n vectors."""
    cdef const instruction_t *c
    cdef Py_ssize_t k
    for k in range(p.n):
        c = p.code + k
        if OPERANDS[c.code] == 1:
            of_one(c.code, at[c.out], at[c.x], step[c.x], n, like)
        elif OPERANDS[c.code] == 2:
            of_two(c.code, at[c.out], at[c.x], step[c.x], at[c.y], step[c.y], n, like)
        else:
            of_more(c.code, at[c.out], at[c.x], step[c.x], at[c.y], step[c.y], at[c.u], step[c.u], at[c.v], step[c.v], n,
                    like)


cdef inline void uniforms(const program_t *p, const double *scalars, real *vectors, vec like) noexcept nogil:
    """vectors = the uniform numbers of a run: its scalars, constants, and what is computed from them, in double."""
    cdef double[UNIFORMS * DOUBLES] memory
    cdef double *at[SLOTS]
    cdef Py_ssize_t[SLOTS] step
    cdef Py_ssize_t k, W = lanes(splat_f64(0))
    cdef program_t first = p[0]
    for k in range(p.uniforms):
        at[p.inputs + k], step[p.inputs + k] = memory + k * W, 0
        store(memory + k * W, splat(scalars[k] if k < p.scalars else p.values[k], splat_f64(0)))
    first.code, first.n = p.first, p.n_first
    block(&first, at, step, 1, splat_f64(0))
    for k in range(p.uniforms):
        store(vectors + k * lanes(like), splat(memory[k * W], like))


cdef inline void run_over(const program_t *p, const real **inputs, real **outputs, Py_ssize_t n, const double *scalars,
                          vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), i = 0, k, m, first_out = p.inputs + p.uniforms + p.registers
    cdef Py_ssize_t most = min(<Py_ssize_t> BLOCK, REGISTERS_DOUBLES // (max(p.registers, 1) * DOUBLES))
    cdef double[UNIFORMS * DOUBLES] own                     # vectors of W numbers, as the next two
    cdef double[REGISTERS_DOUBLES] registers
    cdef double[(INPUTS + OUTPUTS) * DOUBLES] rest
    cdef real *reals = <real *> rest
    cdef real *at[SLOTS]
    cdef Py_ssize_t[SLOTS] step
    cdef real *vectors = <real *> p.vectors
    if vectors == NULL:
        vectors = <real *> own
        uniforms(p, scalars, vectors, like)
    for k in range(first_out + p.outputs):
        step[k] = W
    for k in range(p.uniforms):
        at[p.inputs + k], step[p.inputs + k] = vectors + k * W, 0
    for k in range(p.registers):
        at[p.inputs + p.uniforms + k] = <real *> registers + k * most * W
    while i + W <= n:
        m = min(most, (n - i) // W)
        for k in range(p.inputs):
            at[k] = <real *> inputs[k] + i
        for k in range(p.outputs):
            at[first_out + k] = outputs[k] + i
        block(p, at, step, m, like)
        i += m * W
    if i == n:
        return
    for k in range(p.inputs):
        at[k] = reals + k * W
        store(at[k], load_n(inputs[k] + i, n - i, like))
    for k in range(p.outputs):
        at[first_out + k] = reals + (p.inputs + k) * W
    block(p, at, step, 1, like)
    for k in range(p.outputs):
        store_n(outputs[k] + i, load(at[first_out + k], like), n - i)


cdef void run_program(const program_t *p, const real **inputs, real **outputs, Py_ssize_t n,
                      const double *scalars) noexcept nogil:
    """outputs = program(inputs), n numbers each; an output may be the same array as an input."""
    if real is float:
        run_over(p, inputs, outputs, n, scalars, splat_f32(0))
    else:
        run_over(p, inputs, outputs, n, scalars, splat_f64(0))


cdef inline const real *unaliased(const real *x, const real *y, real *copy, Py_ssize_t n) noexcept nogil:
    """Return x, or a copy where it is y: compilers vectorize a loop over arrays that may overlap only if they don't."""
    if x != y:
        return x
    memcpy(copy, x, n * sizeof(real))
    return copy


cdef void extension_forward(const extension_t *g, const real *z, real *a, Py_ssize_t n) noexcept nogil:
    """a = g(z); a may be z."""
    cdef const real *inputs[1]
    cdef real *outputs[1]
    cdef real[NATIVE_CHUNK] copy
    cdef Py_ssize_t i = 0
    if g.forward != NULL:
        inputs[0], outputs[0] = z, a
        run_program(g.forward, inputs, outputs, n, NULL)
        return
    while i < n:
        g.native_forward(unaliased(z + i, a + i, copy, min(NATIVE_CHUNK, n - i)), a + i, min(NATIVE_CHUNK, n - i),
                         g.params)
        i += NATIVE_CHUNK


cdef void extension_backward(const extension_t *g, const real *z, const real *a, const real *da, real *dz,
                             Py_ssize_t n) noexcept nogil:
    """dz = da g'(z); dz may be da."""
    cdef const real *inputs[3]
    cdef real *outputs[1]
    cdef real[NATIVE_CHUNK] copy
    cdef Py_ssize_t i = 0
    if g.backward != NULL:
        inputs[0], inputs[1], inputs[2], outputs[0] = z, a, da, dz
        run_program(g.backward, inputs, outputs, n, NULL)
        return
    while i < n:
        g.native_backward(z + i, a + i, unaliased(da + i, dz + i, copy, min(NATIVE_CHUNK, n - i)), dz + i,
                          min(NATIVE_CHUNK, n - i), g.params)
        i += NATIVE_CHUNK


cdef class Program:
    """A checked program in memory that the kernels read.

    `code` and `first` are the bytes of instructions, six int32 each: code, out, x, y, u, v, the operands being slots;
    `values` the bytes of the uniform numbers in double, of which the first `scalars` are arguments of each run.
    `address` is that of the struct, which lives as long as this object.
    """
    cdef program_t p
    cdef readonly bint double_precision
    cdef object kept
    cdef void *memory

    def __cinit__(self, bytes code, bytes first, bytes values, int inputs, int scalars, int registers, int outputs,
                  bint double_precision):
        cdef Py_ssize_t uniform = len(values) // sizeof(double)
        self.p.inputs, self.p.scalars, self.p.uniforms = inputs, scalars, uniform
        self.p.registers, self.p.outputs = registers, outputs
        self.p.n, self.p.n_first = len(code) // sizeof(instruction_t), len(first) // sizeof(instruction_t)
        if not (0 <= inputs <= INPUTS and 0 <= scalars <= uniform <= UNIFORMS and 0 <= registers <= REGISTERS
                and 0 < outputs <= OUTPUTS and self.p.n > 0):
            raise ValueError(f"a program of {inputs} inputs, {uniform} uniforms, {registers} registers, {outputs} outputs: "
                             f"beyond {INPUTS}, {UNIFORMS}, {REGISTERS}, {OUTPUTS}")
        self.kept = (code, first, values)
        self.p.code = <const instruction_t *> <const char *> code
        self.p.first = <const instruction_t *> <const char *> first
        self.p.values = <const double *> <const char *> values
        check(self.p.code, self.p.n, 0, inputs + uniform, inputs + uniform + registers + outputs)
        check(self.p.first, self.p.n_first, inputs, inputs + scalars, inputs + uniform)
        self.double_precision = double_precision
        if scalars > 0:
            return
        self.memory = calloc(max(uniform, 1), VBYTES)
        if self.memory == NULL:
            raise MemoryError()
        if double_precision:
            uniforms(&self.p, NULL, <double *> self.memory, splat_f64(0))
        else:
            uniforms(&self.p, NULL, <float *> self.memory, splat_f32(0))
        self.p.vectors = self.memory

    def __dealloc__(self):
        free(self.memory)

    @property
    def address(self):
        return <size_t> &self.p

    def run(self, inputs, outputs, scalars=()):
        """Run over one-dimensional arrays of one length, contiguous and of the program's dtype."""
        cdef Py_buffer[INPUTS + OUTPUTS] views
        cdef const void *x[INPUTS]
        cdef void *y[OUTPUTS]
        cdef double[UNIFORMS] numbers
        cdef Py_ssize_t k, n = 0, taken = 0, size = 8 if self.double_precision else 4
        cdef int flags = PyBUF_ND | PyBUF_FORMAT
        cdef bytes format = b"d" if self.double_precision else b"f"
        if len(inputs) != self.p.inputs or len(outputs) != self.p.outputs or len(scalars) != self.p.scalars:
            raise ValueError(f"expected {self.p.inputs} inputs, {self.p.outputs} outputs and {self.p.scalars} scalars")
        for k in range(self.p.scalars):
            numbers[k] = scalars[k]
        try:
            for array in (*inputs, *outputs):
                PyObject_GetBuffer(array, &views[taken], flags if taken < self.p.inputs else flags | PyBUF_WRITABLE)
                taken += 1
                if views[taken - 1].format != format or views[taken - 1].len != views[0].len:
                    raise ValueError("arrays of different length, or of another dtype than the program's")
            n = views[0].len // size
            for k in range(self.p.inputs):
                x[k] = views[k].buf
            for k in range(self.p.outputs):
                y[k] = views[self.p.inputs + k].buf
            if self.double_precision:
                run_program(&self.p, <const double **> x, <double **> y, n, numbers)
            else:
                run_program(&self.p, <const float **> x, <float **> y, n, numbers)
        finally:
            for k in range(taken):
                PyBuffer_Release(&views[k])


cdef int check(const instruction_t *code, Py_ssize_t n, Py_ssize_t lowest, Py_ssize_t first_out,
               Py_ssize_t slots) except -1:
    """Check that every instruction exists, reads slots from `lowest` on, and writes only those from `first_out` on."""
    cdef Py_ssize_t k, i
    cdef int32_t[4] read
    for k in range(n):
        read = [code[k].x, code[k].y, code[k].u, code[k].v]
        if not (0 <= code[k].code < N_CODES and first_out <= code[k].out < slots):
            raise ValueError(f"instruction {k}: code or slot out of range")
        for i in range(4):
            if not (lowest if i < OPERANDS[code[k].code] else 0) <= read[i] < slots:
                raise ValueError(f"instruction {k}: code or slot out of range")
    return 0


cdef class Extension:
    """An activation without a kernel, in memory: two programs, or the addresses of two native functions and the bytes of
    their parameters in double."""
    cdef extension_t g
    cdef object kept

    def __cinit__(self, Program forward=None, Program backward=None, size_t native_forward=0, size_t native_backward=0,
                  bytes params=b"", owner=None):
        if (forward is None) == (native_forward == 0):
            raise ValueError("an extension has a program or a native function")
        if forward is not None:
            self.g.forward = &forward.p
        if backward is not None:
            self.g.backward = &backward.p
        self.g.native_forward = <native_forward_t> <void *> native_forward
        self.g.native_backward = <native_backward_t> <void *> native_backward
        self.g.params = <const double *> <const char *> params
        self.kept = (forward, backward, params, owner)

    @property
    def address(self):
        return <size_t> &self.g


NAMES = {  # of instructions, and their codes
    "copy": COPY, "add": ADD, "sub": SUB, "mul": MUL, "div": DIV, "max": MAX, "min": MIN, "pow": POW, "less": LESS,
    "at_least": AT_LEAST, "equal": EQUAL, "copysign": COPYSIGN, "fma": FMA, "fms": FMS, "fnma": FNMA, "select": SELECT,
    "if_less": IF_LESS, "if_at_least": IF_AT_LEAST, "if_equal": IF_EQUAL, "neg": NEG, "abs": ABS, "sqrt": SQRT,
    "round": ROUND, "exp": EXP, "expm1": EXPM1, "log": LOG, "log1p": LOG1P, "tanh": TANH, "sigmoid": SIGMOID,
    "sin": SIN, "cos": COS, "erf": ERF, "sinh": SINH, "cosh": COSH, "arctan": ARCTAN, "arcsinh": ARCSINH,
    "softplus": SOFTPLUS, "sign": SIGN,
}
LIMITS = {"inputs": INPUTS, "uniforms": UNIFORMS, "registers": REGISTERS, "outputs": OUTPUTS}
