"""Operations over the flat arenas: penalties, the check of gradients, and the updates of optimizers."""
from libc.math cimport isfinite

from .nn_optimizers cimport adam_update, all_finite, sgd_update
from .nn_penalties cimport CHUNK, penalty
from .plan_chunks cimport chunks_t, claim, n_chunks
from .plan_ops cimport (
    ADAM, GRADIENTS, PARAMETERS, SGD, STATE, at, check_op_t, gradient, op_t, penalty_op_t, penalty_sum_op_t, run_t,
    traced_update_op_t
)
from .simd cimport LINE_NUMBERS, real, share
from .simd_sums cimport sum_of
from .vm cimport INPUTS, OUTPUTS, UNIFORMS, program_t, run_program

cdef enum:
    SEGMENT = 3          # numbers of a segment in the table: first, last, hyper


cdef inline void traced_update(const traced_update_op_t *op, run_t *run, Py_ssize_t first, Py_ssize_t n,
                               const double *hyper, const real *like) noexcept nogil:
    """Run a traced optimizer: parameters, gradients and state come in, the first and the last go out."""
    cdef const real *inputs[INPUTS]
    cdef real *outputs[OUTPUTS]
    cdef double[UNIFORMS] scalars
    cdef const program_t *program = <const program_t *> <void *> op.program
    cdef Py_ssize_t k
    scalars[0], scalars[1] = hyper[0], <double> run.iteration
    for k in range(2, program.scalars):
        scalars[k] = hyper[k - 1]
    outputs[0] = <real *> run.base[PARAMETERS] + first
    for k in range(op.n_slots):
        outputs[1 + k] = <real *> run.base[STATE] + k * op.update.slot_stride + first
        inputs[2 + k] = outputs[1 + k]
    inputs[0], inputs[1] = outputs[0], <const real *> run.base[GRADIENTS] + first
    run_program(program, inputs, outputs, n, scalars)


cdef inline void update(const op_t *op, run_t *run, Py_ssize_t first, Py_ssize_t n, const double *hyper,
                        const real *like) noexcept nogil:
    """Update n parameters from `first` on, all of one segment."""
    cdef real *w = <real *> run.base[PARAMETERS] + first
    cdef const real *g = <const real *> run.base[GRADIENTS] + first
    cdef real *state = <real *> run.base[STATE] + first
    if op.head.code == SGD:
        sgd_update(w, g, state if op.sgd.has_velocity else NULL, n, hyper[0], hyper[1], op.sgd.nesterov)
    elif op.head.code == ADAM:
        adam_update(w, g, state, state + op.update.slot_stride, n, hyper[0], hyper[1], hyper[2], hyper[3],
                    run.iteration)
    else:
        traced_update(&op.traced_update, run, first, n, hyper, like)


cdef inline void update_chunks(const op_t *op, run_t *run, chunks_t chunks, const real *like) noexcept nogil:
    """Update the chunks of the arena that this thread claims, segment by segment."""
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k, first, last, begin, end, chunk
    cdef Py_ssize_t count = n_chunks(chunks.team, op.update.size, LINE_NUMBERS, op.head.cost)
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(op.update.size, LINE_NUMBERS, chunk, count, &first, &last)
        for k in range(op.update.n_segments):
            segment = run.table + op.update.segments + SEGMENT * k
            begin, end = max(first, segment[0]), min(last, segment[1])
            if begin < end:
                update(op, run, begin, end - begin, run.hyper + segment[2], like)


cdef inline Py_ssize_t n_hyper(const op_t *op) noexcept nogil:
    """Return how many hyper-parameters an update reads for a segment."""
    if op.head.code == SGD:
        return 2
    if op.head.code == ADAM:
        return 4
    return max((<const program_t *> <void *> op.traced_update.program).scalars - 1, 1)


cdef inline void check_chunks(const check_op_t *op, run_t *run, chunks_t chunks, const real *like) noexcept nogil:
    """Note whether the gradient of a parameter is finite, in the chunks that this thread claims."""
    cdef Py_ssize_t first, last, chunk
    cdef Py_ssize_t count = n_chunks(chunks.team, op.size, LINE_NUMBERS, op.head.cost)
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(op.size, LINE_NUMBERS, chunk, count, &first, &last)
        if not all_finite(gradient(run, op.x, like) + first, last - first):
            run.bad[chunks.tid] = 1


cdef inline void penalize(const penalty_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Compute the penalty of some chunks of a parameter; their sums are numbers in double."""
    cdef Py_ssize_t first, last
    cdef real *g = NULL
    if op.learning:
        g = gradient(run, op.parameter, like)
    share((op.size + CHUNK - 1) // CHUNK, 1, tid, team, &first, &last)
    if not penalty(<const program_t *> <void *> op.program, at(run, op.parameter, like), g, op.size, first, last,
                   op.scale, <double *> at(run, op.sums, like)):
        run.bad[tid] = 1


cdef inline void penalty_sum(const penalty_sum_op_t *op, run_t *run, const real *like) noexcept nogil:
    """Add penalties to the loss, which is a sum over the weights of the batch, so that they become part of its mean."""
    run.loss += run.weight * (sum_of(<const double *> at(run, op.sums, like), op.n) + op.shift)
    if not isfinite(run.loss):
        run.bad[0] = 1
