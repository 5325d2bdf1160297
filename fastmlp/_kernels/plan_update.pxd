"""Operations over the flat arenas: what optimizers and penalties make of parameters and gradients."""
from libc.math cimport isfinite

from .plan_ops cimport CHECK, GRADIENTS, PARAMETERS, SGD, STATE, SWEEP, at, gradient, op_t, run_t
from .nn_optimizers cimport adam_update, all_finite, sgd_update
from .nn_penalties cimport CHUNK, penalty
from .plan_chunks cimport chunks_t, claim, n_chunks
from .vm cimport INPUTS, OUTPUTS, program_t, run_program
from .simd cimport LINE_NUMBERS, real, share
from .simd_sums cimport sum_of


cdef inline void program_update(const op_t *op, run_t *run, Py_ssize_t first, Py_ssize_t n,
                                const real *like) noexcept nogil:
    """A recorded optimizer: parameters, gradients and state come in, the first and the last go out."""
    cdef const real *inputs[INPUTS]
    cdef real *outputs[OUTPUTS]
    cdef double[2] scalars
    cdef Py_ssize_t k
    scalars[0], scalars[1] = run.learning_rate, <double> run.iteration
    outputs[0] = <real *> run.base[PARAMETERS] + first
    for k in range(op.kind):
        outputs[1 + k] = <real *> run.base[STATE] + k * op.slots + first
        inputs[2 + k] = outputs[1 + k]
    inputs[0], inputs[1] = outputs[0], <const real *> run.base[GRADIENTS] + first
    run_program(<const program_t *> <void *> op.extension, inputs, outputs, n, scalars)


cdef inline void update(const op_t *op, run_t *run, Py_ssize_t first, Py_ssize_t n, int tid,
                        const real *like) noexcept nogil:
    """A chunk of the flat arenas."""
    cdef real *w = <real *> run.base[PARAMETERS]
    cdef real *g = <real *> run.base[GRADIENTS]
    cdef real *state = <real *> run.base[STATE]
    if op.code == CHECK:
        if not all_finite(gradient(run, op.x, like) + first, n):
            run.bad[tid] = 1
    elif op.code == SWEEP:
        program_update(op, run, first, n, like)
    elif op.code == SGD:
        sgd_update(w + first, g + first, (state + first) if op.rate != 0.0 else NULL, n, run.learning_rate, op.rate, op.flag)
    else:
        adam_update(w + first, g + first, state + first, state + op.slots + first, n, run.learning_rate, op.beta1,
                    op.beta2, op.epsilon, run.iteration)


cdef inline void update_chunks(const op_t *op, run_t *run, chunks_t chunks, const real *like) noexcept nogil:
    cdef Py_ssize_t first, last, chunk, count = n_chunks(chunks.team, op.size, LINE_NUMBERS, op.cost)
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(op.size, LINE_NUMBERS, chunk, count, &first, &last)
        update(op, run, first, last - first, chunks.tid, like)


cdef inline void penalize(const op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Some chunks of a parameter; their sums are numbers in double."""
    cdef Py_ssize_t first, last
    cdef real *g = NULL
    if op.flag:
        g = gradient(run, op.x, like)
    share((op.size + CHUNK - 1) // CHUNK, 1, tid, team, &first, &last)
    if not penalty(<const program_t *> <void *> op.extension, at(run, op.x, like), g, op.size, first, last, op.slope,
                   <double *> at(run, op.a, like)):
        run.bad[tid] = 1


cdef inline void penalty_sum(const op_t *op, run_t *run, const real *like) noexcept nogil:
    """The loss is a sum over the weights of the batch, so that penalties are part of its mean."""
    run.loss += run.weight * (sum_of(<const double *> at(run, op.a, like), op.size) + op.rate)
    if not isfinite(run.loss):
        run.bad[0] = 1
