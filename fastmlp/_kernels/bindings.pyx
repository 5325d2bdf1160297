# cython: binding=False, embedsignature.format=clinic
"""Bindings of single kernels, for tests and benchmarks: they check arrays, then call. NumPy twins of the same name and
arguments stand in `reference.py`; `arrays.pxd` explains the specifications of arrays."""
import struct

from cython.parallel cimport parallel
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from . cimport nn_activations, nn_batchnorm, nn_clipping, nn_columns, nn_dropout, nn_embedding, nn_layernorm, nn_losses, nn_noise
from . cimport nn_optimizers, nn_softmax_crossentropy, nn_unit_norm, random
from .arrays cimport arrays_t, expect, parse
from .nn_add cimport add_row
from .gemm cimport gemm_chunks, gemm_t, panel_width, scratch_size
from .nn_loss_batch cimport loss_t
from .plan_chunks cimport STRIDE, chunks_of
from .simd cimport KC, MR, barrier_t, leave_cpu, real, team_barrier, team_size, this_cpu, thread_id
from . import vm

ELEMENTARY = (
    "exp", "expm1", "log", "log1p", "sigmoid", "tanh", "erf", "sin", "cos", "sinh", "cosh", "arctan", "arcsinh"
)


def elementary(name, x, y):
    """y = f(x), for the function f of that name in ELEMENTARY: a program of one instruction."""
    code = struct.pack("6i", vm.NAMES[name], 1, 0, 0, 0, 0)
    vm.Program(code, b"", b"", 1, 0, 0, 1, x.itemsize == 8).run([x], [y])


def elementary_power(x, exponent, y):
    """y = x^exponent."""
    code = struct.pack("6i", vm.NAMES["pow"], 2, 0, 1, 0, 0)
    vm.Program(code, b"", b"", 2, 0, 0, 1, x.itemsize == 8).run([x, exponent], [y])


cdef void *memory(size_t size) except NULL:
    cdef void *block = malloc(size + 1)
    if block == NULL:
        raise MemoryError()
    return block


cdef Py_ssize_t *multiples(Py_ssize_t n, Py_ssize_t step, const Py_ssize_t *of) except NULL:
    """Return step times 0 .. n - 1 (or times n numbers); the caller frees the table."""
    cdef Py_ssize_t *table = <Py_ssize_t *> memory(n * sizeof(Py_ssize_t))
    cdef Py_ssize_t i
    for i in range(n):
        table[i] = (of[i] if of != NULL else i) * step
    return table


def activation_forward(int code, z, a, double alpha=0.0):
    """a = g(z)."""
    cdef arrays_t c
    parse(&c, b"z:n a=n", (z, a))
    expect(code < nn_activations.EXTENSION, "a code that has no kernel")
    if c.single:
        nn_activations.activation_forward(code, c.f[0], c.f[1], c.n, alpha, NULL)
    else:
        nn_activations.activation_forward(code, c.d[0], c.d[1], c.n, alpha, NULL)


def activation_backward(int code, z, a, da, dz, double alpha=0.0, double at_zero=1.0):
    """dz = da g'(z)."""
    cdef arrays_t c
    parse(&c, b"z:n a:n da:n dz=n", (z, a, da, dz))
    expect(code < nn_activations.EXTENSION, "a code that has no kernel")
    if c.single:
        nn_activations.activation_backward(code, c.f[0], c.f[1], c.f[2], c.f[3], c.n, alpha, at_zero, NULL)
    else:
        nn_activations.activation_backward(code, c.d[0], c.d[1], c.d[2], c.d[3], c.n, alpha, at_zero, NULL)


cdef int run_gemm(const gemm_t *g, int threads, const real *like) except -1:
    cdef Py_ssize_t numbers = scratch_size(g.m, g.n, g.k, like)
    cdef barrier_t barrier
    cdef Py_ssize_t counters = threads * STRIDE * sizeof(Py_ssize_t)
    cdef void *block = memory(counters + threads * numbers * sizeof(real) + 64)
    cdef Py_ssize_t *claimed = <Py_ssize_t *> (<char *> block + (64 - <size_t> block % 64) % 64)
    cdef real *scratch = <real *> (<char *> claimed + counters)
    cdef int cpu = this_cpu()
    with nogil:
        if threads == 1:
            gemm_chunks(g, chunks_of(NULL, 0, 1), scratch)
        else:
            memset(&barrier, 0, sizeof(barrier))
            memset(claimed, 0, counters)
            with parallel(num_threads=threads):
                if thread_id() > 0:
                    leave_cpu(cpu, team_size())
                gemm_chunks(g, chunks_of(claimed, thread_id(), team_size()), scratch + thread_id() * numbers)
                team_barrier(&barrier, team_size())      # ours: the threads of OpenBLAS and of this region may share a core
        free(block)
    return 0


cdef int run_rows(gemm_t *g, int threads, const arrays_t *c, const Py_ssize_t *index) except -1:
    """Run a GEMM where row i of a (column, if transposed) begins at number i * g.lda, or at index[i] * g.lda."""
    cdef Py_ssize_t *row_offsets = multiples(g.m, 1 if g.a_transposed else g.lda, index)
    cdef Py_ssize_t *k_offsets = NULL
    try:
        k_offsets = multiples(g.k, g.lda if g.a_transposed else 1, NULL)
        g.row_offsets, g.k_offsets = row_offsets, k_offsets
        return run_gemm(g, threads, c.f[0]) if c.single else run_gemm(g, threads, c.d[0])
    finally:
        free(row_offsets)
        free(k_offsets)


def dense_forward(x, kernel, bias, z, a, int activation=0, double alpha=0.0, index=None, int threads=1):
    """z = x[index] kernel + bias, a = g(z); x (rows, inputs), kernel (inputs, units), z and a (batch, units)."""
    listed = b"x:rk kernel:kn bias?n z=mn a=mn index:Im"
    if index is None:
        listed = b"x:mk kernel:kn bias?n z=mn a=mn index?Im"
    cdef arrays_t c
    parse(&c, listed, (x, kernel, bias, z, a, index))
    cdef const Py_ssize_t *rows = <const Py_ssize_t *> c.at[5]
    cdef Py_ssize_t i
    cdef gemm_t g
    expect(threads > 0, "threads below 1")
    for i in range(c.m if rows != NULL else 0):
        expect(0 <= rows[i] < c.length[c"r" - c"a"], "index out of range")
    if c.m == 0 or c.n == 0:
        return
    memset(&g, 0, sizeof(g))
    g.m, g.n, g.k, g.lda, g.ldb, g.ldc, g.ld_activated = c.m, c.n, c.k, c.k, c.n, c.n, c.n
    g.a, g.b, g.shift, g.c, g.activated = c.at[0], c.at[1], c.at[2], c.at[3], c.at[4]
    g.activation, g.alpha = activation, alpha
    run_rows(&g, threads, &c, rows)


def dense_backward(x, kernel, d, d_kernel, d_bias, d_input, int activation=0, z=None, a=None, double alpha=0.0,
                   double at_zero=1.0, int threads=1):
    """d_kernel = x^T d, d_bias = sum d, d_input = d kernel^T times g'(z) of the activation a = g(z) that made x."""
    listed = b"x:mk kernel:kn d:mn d_kernel=kn d_bias=n d_input=mk " + (b"z:mk a:mk" if activation else b"z?pq a?rs")
    cdef arrays_t c
    parse(&c, listed, (x, kernel, d, d_kernel, d_bias, d_input, z, a))
    cdef gemm_t g
    expect(threads > 0, "threads below 1")
    column_sums(d, d_bias)
    if c.m == 0 or c.n == 0 or c.k == 0:
        memset(c.at[3], 0, c.k * c.n * c.itemsize)
        memset(c.at[5], 0, c.m * c.k * c.itemsize)
        return
    memset(&g, 0, sizeof(g))
    g.m, g.n, g.k, g.lda, g.ldb, g.ldc = c.k, c.n, c.m, c.k, c.n, c.n
    g.a, g.b, g.c, g.a_transposed = c.at[0], c.at[2], c.at[3], True
    run_rows(&g, threads, &c, NULL)
    memset(&g, 0, sizeof(g))
    g.m, g.n, g.k, g.lda, g.ldb, g.ldc = c.m, c.k, c.n, c.n, c.n, c.k
    g.a, g.b, g.c, g.b_transposed = c.at[2], c.at[1], c.at[5], True
    if activation:
        g.z, g.a_of_z, g.ldz, g.activation, g.alpha, g.at_zero = c.at[6], c.at[7], c.k, activation, alpha, at_zero
    run_rows(&g, threads, &c, NULL)


def column_sums(x, out):
    """out[j] = sum_i x[i, j]."""
    cdef arrays_t c
    parse(&c, b"x:mn out=n", (x, out))
    if c.single:
        nn_batchnorm.column_sums(c.f[0], c.n, c.m, 0, c.n, c.f[1])
    else:
        nn_batchnorm.column_sums(c.d[0], c.n, c.m, 0, c.n, c.d[1])


cdef int normalize(real **p, Py_ssize_t m, Py_ssize_t n, double epsilon) except -1:
    cdef real *inv = <real *> memory(n * sizeof(real))
    cdef Py_ssize_t i
    nn_batchnorm.batchnorm_statistics(p[0], n, m, 0, n, epsilon, p[3], p[4], inv)
    for i in range(m):
        nn_batchnorm.batchnorm_forward(p[0] + i * n, p[3], inv, p[1], p[2], p[5] + i * n, n)
    free(inv)
    return 0


def batchnorm_forward(x, gamma, beta, double epsilon, mean, var, y):
    """mean and var (over m) of the columns of x, y = gamma (x - mean) / sqrt(var + epsilon) + beta."""
    cdef arrays_t c
    parse(&c, b"x:mn gamma:n beta:n mean=n var=n y=mn", (x, gamma, beta, mean, var, y))
    expect(c.m > 0, "batch norm needs a row")
    if c.single:
        normalize(c.f, c.m, c.n, epsilon)
    else:
        normalize(c.d, c.m, c.n, epsilon)


cdef int normalize_back(real **p, Py_ssize_t m, Py_ssize_t n, double epsilon, double share) except -1:
    cdef real *inv = <real *> memory(n * sizeof(real))
    cdef Py_ssize_t i
    nn_batchnorm.batchnorm_inverse(p[4], n, epsilon, inv)
    nn_batchnorm.batchnorm_backward_sums(p[0], n, p[1], n, m, 0, n, p[3], inv, p[5], p[6])
    for i in range(m):
        nn_batchnorm.batchnorm_backward(p[0] + i * n, p[1] + i * n, p[3], inv, p[2], p[5], p[6], share, p[7] + i * n, n)
    free(inv)
    return 0


def batchnorm_backward(x, dy, gamma, mean, var, double epsilon, bint batch_statistics, d_gamma, d_beta, dx):
    """d_gamma, d_beta and dx for y as in batchnorm_forward; mean and var are constants unless batch_statistics."""
    cdef arrays_t c
    parse(&c, b"x:mn dy:mn gamma:n mean:n var:n d_gamma=n d_beta=n dx=mn",
          (x, dy, gamma, mean, var, d_gamma, d_beta, dx))
    expect(c.m > 0, "batch norm needs a row")
    cdef double share = 1.0 / c.m if batch_statistics else 0.0
    if c.single:
        normalize_back(c.f, c.m, c.n, epsilon, share)
    else:
        normalize_back(c.d, c.m, c.n, epsilon, share)


def batchnorm_update(mean, var, double momentum, running_mean, running_var):
    """running = momentum running + (1 - momentum) batch."""
    cdef arrays_t c
    parse(&c, b"mean:n var:n running_mean=n running_var=n", (mean, var, running_mean, running_var))
    if c.single:
        nn_batchnorm.batchnorm_update(c.f[0], c.f[1], momentum, c.f[2], c.f[3], c.n)
    else:
        nn_batchnorm.batchnorm_update(c.d[0], c.d[1], momentum, c.d[2], c.d[3], c.n)


def add(x, y, a):
    """a = x + y."""
    cdef arrays_t c
    parse(&c, b"x:n y:n a=n", (x, y, a))
    if c.single:
        add_row(c.f[0], c.f[1], c.f[2], c.n)
    else:
        add_row(c.d[0], c.d[1], c.d[2], c.n)


cdef void normalize_rows(real **p, Py_ssize_t m, Py_ssize_t n, double epsilon, bint centered) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(m):
        nn_layernorm.layernorm_forward(p[0] + i * n, p[1], p[2] if centered else NULL, n, epsilon,
                                       p[3] + i if centered else NULL, p[4] + i, p[5] + i * n)


def layernorm_forward(x, gamma, beta, double epsilon, bint centered, mean, inv, y):
    """mean and inv of the rows of x, y = gamma (x - mean) inv + beta; not centered, without mean and beta."""
    cdef arrays_t c
    parse(&c, b"x:mn gamma:n beta:n mean=m inv=m y=mn", (x, gamma, beta, mean, inv, y))
    if c.single:
        normalize_rows(c.f, c.m, c.n, epsilon, centered)
    else:
        normalize_rows(c.d, c.m, c.n, epsilon, centered)


cdef void normalize_rows_back(real **p, Py_ssize_t m, Py_ssize_t n, bint centered) noexcept nogil:
    cdef real *mean = p[3] if centered else NULL
    cdef Py_ssize_t i
    nn_layernorm.layernorm_sums(p[0], n, p[1], n, m, 0, n, mean, p[4], p[5], p[6] if centered else NULL)
    for i in range(m):
        nn_layernorm.layernorm_backward(p[0] + i * n, p[1] + i * n, p[2], n, mean + i if centered else NULL, p[4] + i,
                                        p[7] + i * n)


def layernorm_backward(x, dy, gamma, mean, inv, bint centered, d_gamma, d_beta, dx):
    """d_gamma, d_beta and dx for y as in layernorm_forward; not centered, d_beta is left alone."""
    cdef arrays_t c
    parse(&c, b"x:mn dy:mn gamma:n mean:m inv:m d_gamma=n d_beta=n dx=mn", (x, dy, gamma, mean, inv, d_gamma, d_beta, dx))
    if c.single:
        normalize_rows_back(c.f, c.m, c.n, centered)
    else:
        normalize_rows_back(c.d, c.m, c.n, centered)


def softmax_forward(z, a):
    """a = softmax(z) by rows."""
    cdef arrays_t c
    parse(&c, b"z:mn a=mn", (z, a))
    expect(c.n > 0, "no columns")
    if c.single:
        nn_softmax_crossentropy.softmax_forward(c.f[0], c.n, c.f[1], c.n, c.m, c.n)
    else:
        nn_softmax_crossentropy.softmax_forward(c.d[0], c.n, c.d[1], c.n, c.m, c.n)


def softmax_backward(a, da, dz):
    """dz = a (da - sum da a) by rows."""
    cdef arrays_t c
    parse(&c, b"a:mn da:mn dz=mn", (a, da, dz))
    cdef Py_ssize_t i
    expect(c.n > 0, "no columns")
    for i in range(0, c.m * c.n, c.n):
        if c.single:
            nn_softmax_crossentropy.softmax_backward(c.f[0] + i, c.f[1] + i, c.f[2] + i, c.n)
        else:
            nn_softmax_crossentropy.softmax_backward(c.d[0] + i, c.d[1] + i, c.d[2] + i, c.n)


def loss(int code, z, a, y, weight, values, dz):
    """values = the loss of each row, dz = its gradient times weight. y holds labels (int64) for sparse losses, else rows."""
    cdef bint sparse = code == nn_losses.SPARSE_SOFTMAX_CROSSENTROPY or code == nn_losses.SPARSE_CROSSENTROPY
    listed = b"z:mn a=mn y:Im weight:m values=Dm dz=mn" if sparse else b"z:mn a=mn y:mn weight:m values=Dm dz=mn"
    cdef arrays_t c
    parse(&c, listed, (z, a, y, weight, values, dz))
    cdef const Py_ssize_t *labels = <const Py_ssize_t *> c.at[2] if sparse else NULL
    cdef Py_ssize_t i
    cdef loss_t g
    expect(c.n > 0 and code != nn_losses.PROGRAM, "no columns, or no loss of the kernels' own")
    for i in range(c.m if sparse else 0):
        expect(0 <= labels[i] < c.n, "label out of range")
    cdef Py_ssize_t *index = multiples(c.m, 1, NULL)
    memset(&g, 0, sizeof(g))
    g.code, g.n, g.index, g.total, g.labels, g.y = code, c.n, index, 1.0, labels, NULL if sparse else c.at[2]
    g.z, g.a, g.weights, g.values, g.d = c.at[0], c.at[1], c.at[3], c.d[4], c.at[5]
    g.ldz, g.lda, g.ldy, g.ldd = c.n, c.n, c.n, c.n
    if c.single:
        nn_losses.loss_rows(&g, 0, c.m, c.f[0])
    else:
        nn_losses.loss_rows(&g, 0, c.m, c.d[0])
    free(index)


def accuracy(int metric, a, y, values):
    """values = whether the largest output is the label, or the share of outputs on the right side; y as in loss."""
    cdef bint sparse = metric == nn_losses.SPARSE_ACCURACY
    cdef arrays_t c
    parse(&c, b"a:mn y:Im values=Dm" if sparse else b"a:mn y:mn values=Dm", (a, y, values))
    cdef loss_t g
    expect(c.n > 0, "no columns")
    cdef Py_ssize_t *index = multiples(c.m, 1, NULL)
    memset(&g, 0, sizeof(g))
    g.n, g.index, g.a, g.lda, g.ldy = c.n, index, c.at[0], c.n, c.n      # a is read only
    g.labels, g.y = <const Py_ssize_t *> c.at[1] if sparse else NULL, NULL if sparse else c.at[1]
    if c.single:
        nn_losses.accuracy_rows(&g, metric, 0, c.m, c.d[2], c.f[0])
    else:
        nn_losses.accuracy_rows(&g, metric, 0, c.m, c.d[2], c.d[0])
    free(index)


def sgd_update(w, g, velocity, double learning_rate, double momentum=0.0, bint nesterov=False):
    """Update w and the state in place, see nn_optimizers.pyx."""
    cdef arrays_t c
    if velocity is None:
        parse(&c, b"w=n g:n", (w, g))
    else:
        parse(&c, b"w=n g:n velocity=n", (w, g, velocity))
    if c.single:
        nn_optimizers.sgd_update(c.f[0], c.f[1], c.f[2], c.n, learning_rate, momentum, nesterov)
    else:
        nn_optimizers.sgd_update(c.d[0], c.d[1], c.d[2], c.n, learning_rate, momentum, nesterov)


def decay(w, double factor):
    """Multiply w in place, see nn_optimizers.pyx."""
    cdef arrays_t c
    parse(&c, b"w=n", (w,))
    if c.single:
        nn_optimizers.decay(c.f[0], c.n, factor)
    else:
        nn_optimizers.decay(c.d[0], c.n, factor)


def adam_update(w, g, m, v, double learning_rate, double beta_1, double beta_2, double epsilon, Py_ssize_t step):
    """Update w and the state in place, see nn_optimizers.pyx."""
    cdef arrays_t c
    parse(&c, b"w=n g:n m=n v=n", (w, g, m, v))
    expect(step >= 1, "step below 1")
    if c.single:
        nn_optimizers.adam_update(c.f[0], c.f[1], c.f[2], c.f[3], c.n, learning_rate, beta_1, beta_2, epsilon, step)
    else:
        nn_optimizers.adam_update(c.d[0], c.d[1], c.d[2], c.d[3], c.n, learning_rate, beta_1, beta_2, epsilon, step)


def average_update(average, w, double momentum, bint overwrite):
    """average = momentum average + (1 - momentum) w; then w = average where it is to be overwritten."""
    cdef arrays_t c
    parse(&c, b"average=n w=n", (average, w))
    if c.single:
        nn_optimizers.average_update(c.f[0], c.f[1], c.n, momentum, overwrite)
    else:
        nn_optimizers.average_update(c.d[0], c.d[1], c.n, momentum, overwrite)


def all_finite(x):
    """Return whether x has neither NaN nor infinity."""
    cdef arrays_t c
    parse(&c, b"x:n", (x,))
    return nn_optimizers.all_finite(c.f[0], c.n) if c.single else nn_optimizers.all_finite(c.d[0], c.n)


def magnitude(x):
    """Return 1 if x has NaN or infinity, 2 if the sum of its squares is 2^100 or more, else 0."""
    cdef arrays_t c
    parse(&c, b"x:n", (x,))
    return nn_optimizers.magnitude(c.f[0], c.n) if c.single else nn_optimizers.magnitude(c.d[0], c.n)


def clip_values(g, double limit):
    """g = min(max(g, -limit), limit)."""
    cdef arrays_t c
    parse(&c, b"g=n", (g,))
    if c.single:
        nn_clipping.clip_values(c.f[0], c.n, limit)
    else:
        nn_clipping.clip_values(c.d[0], c.n, limit)


def clip_norm(g, double limit):
    """g = g min(1, limit / norm), the norm of all of it."""
    cdef arrays_t c
    cdef double found
    parse(&c, b"g=n", (g,))
    if c.single:
        found = nn_clipping.squared_sum(c.f[0], c.n)
        nn_clipping.scale_by(c.f[0], c.n, nn_clipping.clip_factor(&found, 1, limit))
    else:
        found = nn_clipping.squared_sum(c.d[0], c.n)
        nn_clipping.scale_by(c.d[0], c.n, nn_clipping.clip_factor(&found, 1, limit))


def dropout_forward(x, y, mask, double rate, unsigned long long seed, unsigned long long step, unsigned int layer):
    """y = mask x / (1 - rate), mask from (seed, step, layer, element)."""
    cdef arrays_t c
    parse(&c, b"x:mn y=mn mask=Bmn", (x, y, mask))
    cdef unsigned char *masks = <unsigned char *> c.at[2]
    cdef Py_ssize_t row, i
    expect(c.n > 0, "no columns")
    for row in range(c.m):
        i = row * c.n
        if c.single:
            nn_dropout.dropout_forward(c.f[0] + i, c.f[1] + i, masks + i, row, c.n, rate, seed, step, layer)
        else:
            nn_dropout.dropout_forward(c.d[0] + i, c.d[1] + i, masks + i, row, c.n, rate, seed, step, layer)


def dropout_backward(dy, mask, dx, double rate):
    """dx = mask dy / (1 - rate)."""
    cdef arrays_t c
    parse(&c, b"dy:n mask:Bn dx=n", (dy, mask, dx))
    cdef const unsigned char *masks = <const unsigned char *> c.at[1]
    if c.single:
        nn_dropout.dropout_backward(c.f[0], masks, c.f[2], c.n, rate)
    else:
        nn_dropout.dropout_backward(c.d[0], masks, c.d[2], c.n, rate)


def noise_forward(x, y, double stddev, unsigned long long seed, unsigned long long step, unsigned int layer):
    """y = x + stddev n, n standard normal, from (seed, step, layer, element)."""
    cdef arrays_t c
    parse(&c, b"x:mn y=mn", (x, y))
    cdef Py_ssize_t row, i
    expect(c.n > 0, "no columns")
    for row in range(c.m):
        i = row * c.n
        if c.single:
            nn_noise.noise_forward(c.f[0] + i, c.f[1] + i, row, c.n, stddev, seed, step, layer)
        else:
            nn_noise.noise_forward(c.d[0] + i, c.d[1] + i, row, c.n, stddev, seed, step, layer)


def standardize(x, mean, var, double epsilon, inv, y):
    """inv = 1 / max(sqrt(var), epsilon), y = (x - mean) inv."""
    cdef arrays_t c
    parse(&c, b"x:mn mean:n var:n inv=n y=mn", (x, mean, var, inv, y))
    cdef Py_ssize_t i
    if c.single:
        nn_columns.column_factors(c.f[2], c.n, epsilon, c.f[3])
    else:
        nn_columns.column_factors(c.d[2], c.n, epsilon, c.d[3])
    for i in range(c.m):
        if c.single:
            nn_columns.standardize(c.f[0] + i * c.n, c.f[1], c.f[3], c.f[4] + i * c.n, c.n)
        else:
            nn_columns.standardize(c.d[0] + i * c.n, c.d[1], c.d[3], c.d[4] + i * c.n, c.n)


def unit_norm_forward(x, double epsilon, inv, y):
    """inv = 1 / max(norm, epsilon) of the rows of x, y = x inv."""
    cdef arrays_t c
    parse(&c, b"x:mn inv=m y=mn", (x, inv, y))
    cdef Py_ssize_t i
    for i in range(c.m):
        if c.single:
            nn_unit_norm.unit_norm_forward(c.f[0] + i * c.n, c.n, epsilon, c.f[1] + i, c.f[2] + i * c.n)
        else:
            nn_unit_norm.unit_norm_forward(c.d[0] + i * c.n, c.n, epsilon, c.d[1] + i, c.d[2] + i * c.n)


def unit_norm_backward(y, dy, inv, double epsilon, dx):
    """dx = inv (dy - y (dy . y)) for y as in unit_norm_forward."""
    cdef arrays_t c
    parse(&c, b"y:mn dy:mn inv:m dx=mn", (y, dy, inv, dx))
    cdef Py_ssize_t i, k
    for i in range(c.m):
        k = i * c.n
        if c.single:
            nn_unit_norm.unit_norm_backward(c.f[0] + k, c.f[1] + k, c.n, epsilon, c.f[2] + i, c.f[3] + k)
        else:
            nn_unit_norm.unit_norm_backward(c.d[0] + k, c.d[1] + k, c.n, epsilon, c.d[2] + i, c.d[3] + k)


def embedding_forward(x, embeddings, Py_ssize_t ids, y):
    """y = the rows of embeddings that x names, NaN for what is no id."""
    cdef arrays_t c
    parse(&c, b"x:m embeddings:kn y=mn", (x, embeddings, y))
    expect(c.k == ids, "another number of ids")
    if c.single:
        nn_embedding.embedding_forward(c.f[0], c.m, c.f[1], c.k, c.n, c.f[2])
    else:
        nn_embedding.embedding_forward(c.d[0], c.m, c.d[1], c.k, c.n, c.d[2])


def embedding_backward(x, dy, Py_ssize_t ids, d_embeddings):
    """d_embeddings = for each id the sum of the rows of dy where x names it."""
    cdef arrays_t c
    parse(&c, b"x:m dy:mn d_embeddings=kn", (x, dy, d_embeddings))
    expect(c.k == ids, "another number of ids")
    if c.single:
        nn_embedding.embedding_backward(c.f[0], 1, 1, c.f[1], c.n, c.m, c.k, c.n, 0, c.k, c.f[2])
    else:
        nn_embedding.embedding_backward(c.d[0], 1, 1, c.d[1], c.n, c.m, c.k, c.n, 0, c.k, c.d[2])


def philox(unsigned long long seed, unsigned long long step, unsigned int stream, unsigned int block0):
    """Return 64 words of the generator: row w, column b is word w of block block0 + b."""
    cdef unsigned int[64] words
    cdef int k
    random.philox(seed, step, stream, block0, words)
    return [[words[16 * k + b] for b in range(16)] for k in range(4)]


def tile_shape(real like):
    """Return MR and NR, the tile in registers, and KC, the most steps of k in a block."""
    return MR, panel_width(&like), KC
