"""Operations over the flat arenas: penalties, the check of gradients, and the updates of optimizers.

After a step all that it wrote is finite, or all is as before. Updates of built-in optimizers run without a look at what
they write where `stays_finite` holds, which is a matter of a few numbers. Others are *guarded*: they save what they
overwrite (arenas from UNDO on), look at what they write, and put it all back (`restore_update`) if some of it is not finite.
"""
from libc.math cimport fabs, isfinite
from libc.string cimport memcpy

from .nn_clipping cimport clip_factor, clip_values, scale_by, squared_sum
from .nn_optimizers cimport (
    NONFINITE, OVERFLOW, adam_update, all_finite, average_update, decay, magnitude, sgd_update, within
)
from .nn_penalties cimport CHUNK, penalty
from .plan_chunks cimport chunks_t, claim, n_chunks
from .plan_ops cimport (
    ADAM, BATCHNORM_UPDATE, BUFFERS, GRADIENTS, NONE, PARAMETERS, SGD, SHIFT, STATE, TRACED_UPDATE, UNDO, at, check_op_t,
    average_op_t, clip_op_t, gradient, has, op_t, penalty_op_t, penalty_sum_op_t, ref_t, run_t, traced_update_op_t
)
from .simd cimport LINE_NUMBERS, real, share
from .simd_sums cimport sum_of
from .vm cimport INPUTS, OUTPUTS, UNIFORMS, program_t, run_program

cdef enum:
    SEGMENT = 3          # numbers of a segment in the table: first, last, hyper
    PIECE = 2048         # numbers of an update of several passes (what is guarded, or decays) while they are in cache


cdef inline bint is_update(const op_t *op) noexcept nogil:
    """Return whether an operation is the update of an optimizer."""
    return op.head.code == SGD or op.head.code == ADAM or op.head.code == TRACED_UPDATE


cdef inline Py_ssize_t n_slots(const op_t *op) noexcept nogil:
    """Return how many arrays of state an update has."""
    if op.head.code == SGD:
        return op.sgd.has_velocity
    return 2 if op.head.code == ADAM else op.traced_update.n_slots


cdef inline bint stays_finite(const op_t *op, const run_t *run) noexcept nogil:
    """Return whether an update that is not guarded can't give NaN or infinity, in float32 or float64.

    Given: finite parameters w, gradients |g| <= 2^50 (LARGE is not noted), state as `state_in_range` says. Half the
    distance from the largest float32 to the one before is 2^103: if w is finite and |d| < 2^103, w + d is finite too.

    SGD, lr <= 2^6, mu <= 1 - 2^-10, |v| <= 2^70: |mu v - lr g| <= 2^70 - 2^60 + 2^56, and rounding adds less than 2^48,
    so that v stays in its range; w moves by less than 2^71.

    Adam, lr <= 2^6, b1 <= 1 - 2^-10, b2 <= 1 - 2^-20, epsilon >= 2^-34, |m| <= 2^51, 0 <= v <= 2^101: |b1 m + c1 g| <=
    2^51 - c1 2^50 with c1 = 1 - b1 >= 2^-10, v likewise with g^2 <= 2^100, c2 >= 2^-20; both by more than rounding
    adds, so they stay in their ranges. v / (1 - b2^t) <= 2^121 is finite, lr / (1 - b1^t) <= 2^16, and w moves by at
    most 2^16 2^51 / 2^-34 = 2^101.

    Programs, lr <= 2^6: see `_tracing/bounds.py`. Decay, of a factor f with |f| <= 1, leaves w where it is, or nearer to 0.
    """
    cdef const double *hyper
    cdef Py_ssize_t k
    cdef bint fine = run.state_in_range and run.iteration >= 1
    for k in range(op.update.n_segments):
        hyper = run.hyper + (run.table + op.update.segments + SEGMENT * k)[2]
        fine &= fabs(hyper[0]) <= 64.0
        if op.update.decay:
            fine &= fabs(hyper[op.update.decay]) <= 1.0
        if op.head.code != TRACED_UPDATE:
            fine &= 0.0 <= hyper[1] <= 0.9990234375
        if op.head.code == ADAM:
            fine &= 0.0 <= hyper[2] <= 0.99999904632568359375 and hyper[3] >= 5.820766091346741e-11
    return fine


cdef inline bint state_in_range(const op_t *op, const run_t *run, const real *like) noexcept nogil:
    """Return whether the state of an optimizer is in the range that `stays_finite` starts from, and keeps."""
    cdef const real *state = <const real *> run.base[STATE]
    cdef Py_ssize_t n = op.update.size, slot, kind
    cdef bint fine = True
    if op.head.code == SGD and op.sgd.has_velocity:
        return within(state, n, -1180591620717411303424.0, 1180591620717411303424.0)    # 2^70
    if op.head.code == TRACED_UPDATE and not has(op.traced_update.ranges):
        return True
    for slot in range(n_slots(op)):
        kind = slot if op.head.code == ADAM else run.table[op.traced_update.ranges + slot]
        if kind == 0:
            fine &= within(state + slot * op.update.slot_stride, n, -2251799813685248.0, 2251799813685248.0)    # 2^51
        elif kind == 2:
            fine &= within(state + slot * op.update.slot_stride, n, -2535301200456458802993406410752.0,
                           2535301200456458802993406410752.0)                                                  # 2^101
        else:
            fine &= within(state + slot * op.update.slot_stride, n, 0.0, 2535301200456458802993406410752.0)     # 2^101
    return fine


cdef inline void save(run_t *run, int arena, const real *x, Py_ssize_t n) noexcept nogil:
    """Keep n numbers of an arena that are overwritten next, where updates are guarded."""
    if run.base[UNDO + arena] != NULL:
        memcpy(<real *> run.base[UNDO + arena] + (x - <const real *> run.base[arena]), x, n * sizeof(real))


cdef inline void note_overflow(run_t *run, int tid, const real *x, Py_ssize_t n) noexcept nogil:
    """Look at n numbers that a guarded update has written."""
    if run.base[UNDO] != NULL and not all_finite(x, n):
        run.bad[tid] |= OVERFLOW


cdef inline Py_ssize_t restore(run_t *run, int arena, Py_ssize_t first, Py_ssize_t n, const real *like) noexcept nogil:
    """Put back n numbers of an arena; return the place of the first that was not finite, or -1."""
    cdef real *x = <real *> run.base[arena] + first
    cdef Py_ssize_t i, found = -1
    if not all_finite(x, n):
        for i in range(n):
            if not isfinite(x[i]):
                found = first + i
                break
    memcpy(x, <const real *> run.base[UNDO + arena] + first, n * sizeof(real))
    return found


cdef inline ref_t restore_update(const op_t *op, run_t *run, const real *like) noexcept nogil:
    """Put back what a guarded update wrote; return a reference to the first number that was not finite, or NONE."""
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k, slot, place
    cdef ref_t found = <ref_t> NONE, low = (<ref_t> 1 << SHIFT) - 1
    if op.head.code == BATCHNORM_UPDATE:
        for k in range(2):
            place = restore(run, BUFFERS, (op.batchnorm_update.running_var if k else op.batchnorm_update.running_mean) & low,
                            op.batchnorm_update.units, like)
            if place >= 0 and found == <ref_t> NONE:
                found = (<ref_t> BUFFERS << SHIFT) | place
    elif is_update(op):
        for k in range(op.update.n_guarded):
            segment = run.table + op.update.guarded_segments + SEGMENT * k
            for slot in range(n_slots(op) + 1):
                place = restore(run, STATE if slot else PARAMETERS, segment[0] + max(slot - 1, 0) * op.update.slot_stride,
                                segment[1] - segment[0], like)
                if place >= 0 and found == <ref_t> NONE:
                    found = place - max(slot - 1, 0) * op.update.slot_stride    # of the parameter it belongs to
    return found


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


cdef inline void step(const op_t *op, run_t *run, Py_ssize_t first, Py_ssize_t n, const double *hyper,
                      const real *like) noexcept nogil:
    """Do a step of the optimizer itself for n parameters from `first` on, all of one segment."""
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


cdef inline void update(const op_t *op, run_t *run, Py_ssize_t first, Py_ssize_t n, const double *hyper,
                        const real *like) noexcept nogil:
    """Update n parameters from `first` on, all of one segment: decay, piece by piece, and the step."""
    cdef Py_ssize_t done = 0, m
    if op.update.decay == 0 or hyper[op.update.decay] == 1.0:
        step(op, run, first, n, hyper, like)
        return
    while done < n:
        m = min(<Py_ssize_t> PIECE, n - done)
        decay(<real *> run.base[PARAMETERS] + first + done, m, hyper[op.update.decay])
        step(op, run, first + done, m, hyper, like)
        done += m


cdef inline void guarded_update(const op_t *op, run_t *run, int tid, Py_ssize_t first, Py_ssize_t n,
                                const double *hyper, const real *like) noexcept nogil:
    """Update as `update` does, piece by piece, of which the old numbers are kept and the new ones are looked at."""
    cdef real *w = <real *> run.base[PARAMETERS] + first
    cdef real *state = <real *> run.base[STATE] + first
    cdef Py_ssize_t done = 0, m, slot
    while done < n:
        m = min(<Py_ssize_t> PIECE, n - done)
        save(run, PARAMETERS, w + done, m)
        for slot in range(n_slots(op)):
            save(run, STATE, state + done + slot * op.update.slot_stride, m)
        update(op, run, first + done, m, hyper, like)
        note_overflow(run, tid, w + done, m)
        for slot in range(n_slots(op)):
            note_overflow(run, tid, state + done + slot * op.update.slot_stride, m)
        done += m


cdef inline void update_chunks(const op_t *op, run_t *run, chunks_t chunks, const real *like) noexcept nogil:
    """Update the chunks of the arena that this thread claims, segment by segment."""
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k, first, last, begin, end, chunk
    cdef Py_ssize_t count = n_chunks(chunks.team, op.update.size, LINE_NUMBERS, op.head.cost)
    cdef bint guarded = run.base[UNDO] != NULL
    cdef Py_ssize_t segments = op.update.guarded_segments if guarded else op.update.segments
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(op.update.size, LINE_NUMBERS, chunk, count, &first, &last)
        for k in range(op.update.n_guarded if guarded else op.update.n_segments):
            segment = run.table + segments + SEGMENT * k
            begin, end = max(first, segment[0]), min(last, segment[1])
            if begin < end and guarded:
                guarded_update(op, run, chunks.tid, begin, end - begin, run.hyper + segment[2], like)
            elif begin < end:
                update(op, run, begin, end - begin, run.hyper + segment[2], like)


cdef inline void update_averages(const average_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Average this thread's share of the parameters, unless the step is about to be taken back; all threads have met."""
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k, first, last
    for k in range(team):
        if run.bad[k] & OVERFLOW:
            return
    for k in range(op.n_segments):
        segment = run.table + op.segments + SEGMENT * k
        share(segment[1] - segment[0], LINE_NUMBERS, tid, team, &first, &last)
        first, last = first + segment[0], last + segment[0]
        average_update(<real *> run.base[STATE] + op.offset + first, <real *> run.base[PARAMETERS] + first, last - first,
                       op.momentum, op.every > 0 and run.iteration % op.every == 0)


cdef inline Py_ssize_t n_hyper(const op_t *op) noexcept nogil:
    """Return how many hyper-parameters an update reads for a segment."""
    cdef Py_ssize_t n = op.update.decay + 1
    if op.head.code == SGD:
        return max(n, 2)
    if op.head.code == ADAM:
        return max(n, 4)
    return max(n, (<const program_t *> <void *> op.traced_update.program).scalars - 1)


cdef inline void check_chunks(const check_op_t *op, run_t *run, chunks_t chunks, const real *like) noexcept nogil:
    """Note whether the gradient of a parameter is finite, and not large, in the chunks that this thread claims."""
    cdef Py_ssize_t first, last, chunk
    cdef Py_ssize_t count = n_chunks(chunks.team, op.size, LINE_NUMBERS, op.head.cost)
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(op.size, LINE_NUMBERS, chunk, count, &first, &last)
        run.bad[chunks.tid] |= magnitude(gradient(run, op.x, like) + first, last - first)


cdef inline void clip_values_of(const clip_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Clip this thread's share of each segment by value."""
    cdef real *g = <real *> run.base[GRADIENTS]
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k, first, last
    for k in range(op.n_segments):
        segment = run.table + op.segments + SEGMENT * k
        share(segment[1] - segment[0], LINE_NUMBERS, tid, team, &first, &last)
        clip_values(g + segment[0] + first, last - first, op.limit)


cdef inline void sum_squares(const clip_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Sum the squares of gradients in the chunks of this thread."""
    cdef const real *g = <const real *> run.base[GRADIENTS]
    cdef double *sums = <double *> at(run, op.sums, like)
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k, chunk, n, before = 0, first, last
    for k in range(op.n_segments):
        segment = run.table + op.segments + SEGMENT * k
        n = segment[1] - segment[0]
        share((n + CHUNK - 1) // CHUNK, 1, tid, team, &first, &last)
        for chunk in range(first, last):
            sums[before + chunk] = squared_sum(g + segment[0] + chunk * CHUNK, min(<Py_ssize_t> CHUNK, n - chunk * CHUNK))
        before += (n + CHUNK - 1) // CHUNK


cdef inline void clip_norms(const clip_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Scale this thread's share of the gradients of each group whose norm is above the limit."""
    cdef real *g = <real *> run.base[GRADIENTS]
    cdef const double *sums = <const double *> at(run, op.sums, like)
    cdef const Py_ssize_t *segment
    cdef Py_ssize_t k = 0, end, chunks, first, last
    cdef double factor
    while k < op.n_segments:
        end, chunks = k, 0
        while end < op.n_segments:
            segment = run.table + op.segments + SEGMENT * end
            if segment[2] != (run.table + op.segments + SEGMENT * k)[2]:
                break
            chunks += (segment[1] - segment[0] + CHUNK - 1) // CHUNK
            end += 1
        factor = clip_factor(sums, chunks, op.limit)
        sums += chunks
        while k < end:
            segment = run.table + op.segments + SEGMENT * k
            share(segment[1] - segment[0], LINE_NUMBERS, tid, team, &first, &last)
            if factor < 1:
                scale_by(g + segment[0] + first, last - first, factor)
            k += 1


cdef inline void penalize(const penalty_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Compute the penalty of some chunks of a parameter; their sums are numbers in double."""
    cdef Py_ssize_t first, last
    cdef real *g = NULL
    if op.learning:
        g = gradient(run, op.parameter, like)
    share((op.size + CHUNK - 1) // CHUNK, 1, tid, team, &first, &last)
    run.bad[tid] |= penalty(<const program_t *> <void *> op.program, at(run, op.parameter, like), g, op.size, first, last,
                            op.scale, <double *> at(run, op.sums, like))


cdef inline void penalty_sum(const penalty_sum_op_t *op, run_t *run, const real *like) noexcept nogil:
    """Add penalties to the loss, which is a sum over the weights of the batch, so that they become part of its mean."""
    run.loss += run.weight * (sum_of(<const double *> at(run, op.sums, like), op.n) + op.shift)
    if not isfinite(run.loss):
        run.bad[0] |= NONFINITE
