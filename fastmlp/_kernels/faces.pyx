"""The kernels one by one, for tests and benchmarks: checks shapes, then calls. Twins of the same name and arguments
stand in `reference.py`."""
import struct

from cython.parallel cimport parallel
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from . cimport activations, batchnorm, logits, losses, optimizers, random
from .gemm cimport gemm_share, gemm_t, panel_width, scratch_size
from .rows cimport loss_t
from .simd cimport MR, barrier_t, leave_cpu, real, team_barrier, team_member, team_size, this_cpu
from . import program

ELEMENTARY = {name: number for number, name in enumerate((
    "exp", "expm1", "log", "log1p", "sigmoid", "tanh", "erf", "sin", "cos", "sinh", "cosh", "arctan", "arcsinh"
))}


def elementary(which, x, y):
    """y = f(x), for the function f of that number in ELEMENTARY: a program of one operation."""
    code = struct.pack("6i", program.NAMES[list(ELEMENTARY)[which]], 1, 0, 0, 0, 0)
    program.Program(code, b"", b"", 1, 0, 0, 1, x.itemsize == 8).run([x], [y])


def elementary_power(x, exponent, y):
    """y = x^exponent."""
    code = struct.pack("6i", program.NAMES["pow"], 2, 0, 1, 0, 0)
    program.Program(code, b"", b"", 2, 0, 0, 1, x.itemsize == 8).run([x, exponent], [y])


cdef int expect(bint condition, str what) except -1:
    if not condition:
        raise ValueError(what)
    return 0


def activation_forward(int kind, const real[::1] z, real[::1] a, double slope=0.0):
    """a = g(z)."""
    expect(kind < activations.EXTENSION, "a kind that has no kernel")
    expect(z.shape[0] == a.shape[0], "z and a differ in length")
    if z.shape[0]:
        with nogil:
            activations.activation_forward(kind, &z[0], &a[0], z.shape[0], slope, NULL)


def activation_backward(int kind, const real[::1] z, const real[::1] a, const real[::1] da, real[::1] dz,
                        double slope=0.0, double at_zero=1.0):
    """dz = da g'(z)."""
    expect(kind < activations.EXTENSION, "a kind that has no kernel")
    expect(z.shape[0] == a.shape[0] == da.shape[0] == dz.shape[0], "lengths differ")
    if z.shape[0]:
        with nogil:
            activations.activation_backward(kind, &z[0], &a[0], &da[0], &dz[0], z.shape[0], slope, at_zero, NULL)


cdef int run_gemm(const gemm_t *g, int threads, const real *like) except -1:
    cdef Py_ssize_t numbers = scratch_size(g.m, g.n, g.k, like)
    cdef barrier_t barrier
    cdef void *memory = malloc(threads * numbers * sizeof(real) + 64)
    if memory == NULL:
        raise MemoryError()
    cdef real *scratch = <real *> (<char *> memory + (64 - <size_t> memory % 64) % 64)
    cdef int cpu = this_cpu()
    with nogil:
        if threads == 1:
            gemm_share(g, 0, 1, scratch)
        else:
            memset(&barrier, 0, sizeof(barrier))
            with parallel(num_threads=threads):
                if team_member() > 0:
                    leave_cpu(cpu, team_size())
                gemm_share(g, team_member(), team_size(), scratch + team_member() * numbers)
                team_barrier(&barrier, team_size())      # ours: OpenBLAS's threads and this region's may share a core
        free(memory)
    return 0


def dense_forward(const real[:, ::1] x, const real[:, ::1] kernel, bias, real[:, ::1] z, real[:, ::1] a, int kind=0,
                  double slope=0.0, index=None, int threads=1):
    """z = x[index] kernel + bias, a = g(z); x (rows, inputs), kernel (inputs, units), z and a (batch, units)."""
    cdef Py_ssize_t batch = z.shape[0], inputs = kernel.shape[0], units = kernel.shape[1], i
    cdef const real[::1] shift = bias
    cdef const Py_ssize_t[::1] rows = index
    cdef gemm_t g
    expect(x.shape[1] == inputs and z.shape[1] == units, "x, kernel and z do not fit")
    expect(a.shape[0] == batch and a.shape[1] == units, "z and a differ in shape")
    expect(x.shape[0] == batch if index is None else rows.shape[0] == batch, "x (or index) and z differ in rows")
    expect(bias is None or shift.shape[0] == units, "bias is not (units,)")
    expect(threads > 0, "threads below 1")
    for i in range(batch if index is not None else 0):
        expect(0 <= rows[i] < x.shape[0], "index out of range")
    if batch == 0 or units == 0:
        return
    cdef Py_ssize_t *table = <Py_ssize_t *> malloc((batch + inputs + 2) * sizeof(Py_ssize_t))
    for i in range(batch):
        table[i] = (rows[i] if index is not None else i) * inputs
    for i in range(inputs + 2):
        table[batch + i] = i
    memset(&g, 0, sizeof(g))
    g.m, g.n, g.k = batch, units, inputs
    g.a, g.starts, g.steps = (&x[0, 0] if inputs and x.shape[0] else NULL), table, table + batch
    g.b, g.ldb, g.lda = (&kernel[0, 0] if inputs else NULL), units, inputs
    g.c, g.ldc = &z[0, 0], units
    g.shift = &shift[0] if bias is not None else NULL
    g.activation, g.ld_activation, g.kind, g.slope = &a[0, 0], units, kind, slope
    try:
        run_gemm(&g, threads, &z[0, 0])
    finally:
        free(table)


def dense_backward(const real[:, ::1] x, const real[:, ::1] kernel, const real[:, ::1] d, real[:, ::1] d_kernel,
                   real[::1] d_bias, real[:, ::1] d_input, int kind=0, z=None, a=None, double slope=0.0,
                   double at_zero=1.0, int threads=1):
    """d_kernel = x^T d, d_bias = sum d, d_input = d kernel^T times g'(z) of the activation a = g(z) that made x."""
    cdef Py_ssize_t batch = x.shape[0], inputs = x.shape[1], units = kernel.shape[1], i, longest
    cdef const real[:, ::1] zs = z
    cdef const real[:, ::1] activation = a
    cdef gemm_t g
    expect(kernel.shape[0] == inputs and d.shape[0] == batch and d.shape[1] == units, "x, kernel and d do not fit")
    expect(d_kernel.shape[0] == inputs and d_kernel.shape[1] == units, "d_kernel is not shaped as kernel")
    expect(d_bias.shape[0] == units, "d_bias is not (units,)")
    expect(d_input.shape[0] == batch and d_input.shape[1] == inputs, "d_input is not shaped as x")
    expect(threads > 0, "threads below 1")
    if inputs == 0 or units == 0 or batch == 0:
        d_kernel[:, :] = 0
        d_input[:, :] = 0
        column_sums(d, d_bias)
        return
    longest = max(batch, inputs, units) + 2
    cdef Py_ssize_t *table = <Py_ssize_t *> malloc((longest + 2 * batch) * sizeof(Py_ssize_t))
    for i in range(longest):
        table[i] = i
    for i in range(batch):
        table[longest + i] = i * inputs
        table[longest + batch + i] = i * units
    try:
        memset(&g, 0, sizeof(g))
        g.m, g.n, g.k = inputs, units, batch
        g.a, g.starts, g.steps = &x[0, 0], table, table + longest
        g.c, g.ldc = &d_kernel[0, 0], units
        g.lda, g.a_transposed, g.b, g.ldb = inputs, True, &d[0, 0], units
        run_gemm(&g, threads, &d[0, 0])
        batchnorm.column_sums(&d[0, 0], units, batch, 0, units, &d_bias[0])
        memset(&g, 0, sizeof(g))
        g.m, g.n, g.k = batch, inputs, units
        g.a, g.starts, g.steps = &d[0, 0], table + longest + batch, table
        g.c, g.ldc = &d_input[0, 0], inputs
        if kind:
            expect(zs.shape[0] == batch and zs.shape[1] == inputs, "z is not shaped as x")
            expect(activation.shape[0] == batch and activation.shape[1] == inputs, "a is not shaped as x")
            g.z, g.a_of_z, g.ldz = &zs[0, 0], &activation[0, 0], inputs
            g.kind, g.slope, g.at_zero = kind, slope, at_zero
        g.lda, g.b, g.ldb, g.b_transposed = units, &kernel[0, 0], units, True
        run_gemm(&g, threads, &d[0, 0])
    finally:
        free(table)


def column_sums(const real[:, ::1] x, real[::1] out):
    """out[j] = sum_i x[i, j]."""
    expect(x.shape[1] == out.shape[0], "x and out do not fit")
    if out.shape[0]:
        batchnorm.column_sums(&x[0, 0] if x.shape[0] else &out[0], x.shape[1], x.shape[0], 0, x.shape[1], &out[0])


def batchnorm_forward(const real[:, ::1] x, const real[::1] gamma, const real[::1] beta, double epsilon,
                      real[::1] mean, real[::1] var, real[:, ::1] y):
    """mean and var (over m) of the columns of x, y = gamma (x - mean) / sqrt(var + epsilon) + beta."""
    cdef Py_ssize_t i, m = x.shape[0], n = x.shape[1]
    expect(m > 0, "batch norm needs a row")
    expect(gamma.shape[0] == beta.shape[0] == mean.shape[0] == var.shape[0] == n, "columns differ")
    expect(y.shape[0] == m and y.shape[1] == n, "x and y differ in shape")
    if n == 0:
        return
    cdef real *inv = <real *> malloc(n * sizeof(real))
    with nogil:
        batchnorm.batchnorm_statistics(&x[0, 0], n, m, 0, n, epsilon, &mean[0], &var[0], inv)
        for i in range(m):
            batchnorm.batchnorm_forward(&x[i, 0], &mean[0], inv, &gamma[0], &beta[0], &y[i, 0], n)
        free(inv)


def batchnorm_backward(const real[:, ::1] x, const real[:, ::1] dy, const real[::1] gamma, const real[::1] mean,
                       const real[::1] var, double epsilon, bint batch_statistics, real[::1] d_gamma,
                       real[::1] d_beta, real[:, ::1] dx):
    """d_gamma, d_beta and dx for y as in batchnorm_forward; mean and var are constants unless batch_statistics."""
    cdef Py_ssize_t i, m = x.shape[0], n = x.shape[1]
    expect(m > 0, "batch norm needs a row")
    expect(gamma.shape[0] == mean.shape[0] == var.shape[0] == d_gamma.shape[0] == d_beta.shape[0] == n,
           "columns differ")
    expect(dy.shape[0] == m and dy.shape[1] == n and dx.shape[0] == m and dx.shape[1] == n, "shapes differ")
    if n == 0:
        return
    cdef real *inv = <real *> malloc(n * sizeof(real))
    with nogil:
        batchnorm.batchnorm_inverse(&var[0], n, epsilon, inv)
        batchnorm.batchnorm_backward_sums(&x[0, 0], n, &dy[0, 0], n, m, 0, n, &mean[0], inv, &d_gamma[0], &d_beta[0])
        for i in range(m):
            batchnorm.batchnorm_backward(&x[i, 0], &dy[i, 0], &mean[0], inv, &gamma[0], &d_gamma[0], &d_beta[0],
                                         1.0 / m if batch_statistics else 0.0, &dx[i, 0], n)
        free(inv)


def batchnorm_update(const real[::1] mean, const real[::1] var, double momentum, real[::1] running_mean,
                     real[::1] running_var):
    """running = momentum running + (1 - momentum) batch."""
    expect(mean.shape[0] == var.shape[0] == running_mean.shape[0] == running_var.shape[0], "lengths differ")
    if mean.shape[0]:
        batchnorm.batchnorm_update(&mean[0], &var[0], momentum, &running_mean[0], &running_var[0], mean.shape[0])


def softmax_forward(const real[:, ::1] z, real[:, ::1] a):
    """a = softmax(z) by rows."""
    expect(z.shape[0] == a.shape[0] and z.shape[1] == a.shape[1] and z.shape[1] > 0, "z and a differ in shape")
    if z.shape[0]:
        logits.softmax_forward(&z[0, 0], z.shape[1], &a[0, 0], a.shape[1], z.shape[0], z.shape[1])


def softmax_backward(const real[:, ::1] a, const real[:, ::1] da, real[:, ::1] dz):
    """dz = a (da - sum da a) by rows."""
    cdef Py_ssize_t i
    expect(a.shape[0] == da.shape[0] == dz.shape[0] and a.shape[1] == da.shape[1] == dz.shape[1], "shapes differ")
    expect(a.shape[1] > 0, "no columns")
    for i in range(a.shape[0]):
        logits.softmax_backward(&a[i, 0], &da[i, 0], &dz[i, 0], a.shape[1])


cdef Py_ssize_t *each_row(Py_ssize_t m) except NULL:
    """0 .. m - 1, for the caller to free."""
    cdef Py_ssize_t i
    cdef Py_ssize_t *index = <Py_ssize_t *> malloc((m + 1) * sizeof(Py_ssize_t))
    if index == NULL:
        raise MemoryError()
    for i in range(m):
        index[i] = i
    return index


def loss(int kind, const real[:, ::1] z, real[:, ::1] a, y, const real[::1] weight, double[::1] values,
         real[:, ::1] dz):
    """Per row: the loss, and its gradient times weight. y holds labels (int64) for the sparse kinds, else rows."""
    cdef Py_ssize_t i, m = z.shape[0], n = z.shape[1]
    cdef bint sparse = kind == losses.SPARSE_SOFTMAX_CROSSENTROPY or kind == losses.SPARSE_CROSSENTROPY
    cdef const Py_ssize_t[::1] labels = y if sparse else None
    cdef const real[:, ::1] rows = None if sparse else y
    cdef loss_t g
    expect(m == a.shape[0] == dz.shape[0] == weight.shape[0] == values.shape[0] and n > 0, "rows differ")
    expect(a.shape[1] == n and dz.shape[1] == n, "columns differ")
    expect(labels.shape[0] == m if sparse else rows.shape[0] == m and rows.shape[1] == n, "y does not fit")
    for i in range(m if sparse else 0):
        expect(0 <= labels[i] < n, "label out of range")
    if m == 0:
        return
    memset(&g, 0, sizeof(g))
    g.kind, g.n, g.values = kind, n, &values[0]
    g.z, g.a, g.d, g.ldz, g.lda, g.ldd = &z[0, 0], &a[0, 0], &dz[0, 0], n, n, n
    g.weights, g.total = &weight[0], 1.0
    if sparse:
        g.labels = &labels[0]
    else:
        g.y, g.ldy = &rows[0, 0], n
    cdef Py_ssize_t *index = each_row(m)
    g.index = index
    with nogil:
        losses.loss_rows(&g, 0, m, &z[0, 0])
        free(index)


def accuracy(int metric, const real[:, ::1] a, y, double[::1] values):
    """Per row: whether the largest output is the label, or the share of outputs on the right side; y as in loss."""
    cdef Py_ssize_t m = a.shape[0], n = a.shape[1]
    cdef bint sparse = metric == losses.SPARSE_ACCURACY
    cdef const Py_ssize_t[::1] labels = y if sparse else None
    cdef const real[:, ::1] rows = None if sparse else y
    cdef loss_t g
    expect(m == values.shape[0] and n > 0, "rows differ")
    expect(labels.shape[0] == m if sparse else rows.shape[0] == m and rows.shape[1] == n, "y does not fit")
    if m == 0:
        return
    memset(&g, 0, sizeof(g))
    g.n, g.a, g.lda = n, <real *> &a[0, 0], n       # read only
    if sparse:
        g.labels = &labels[0]
    else:
        g.y, g.ldy = &rows[0, 0], n
    cdef Py_ssize_t *index = each_row(m)
    g.index = index
    with nogil:
        losses.accuracy_rows(&g, metric, 0, m, &values[0], &a[0, 0])
        free(index)


def sgd_update(real[::1] w, const real[::1] g, real[::1] velocity, double learning_rate, double momentum=0.0,
               bint nesterov=False):
    """In place, see optimizers.pyx."""
    expect(w.shape[0] == g.shape[0] == velocity.shape[0], "lengths differ")
    if w.shape[0]:
        optimizers.sgd_update(&w[0], &g[0], &velocity[0], w.shape[0], learning_rate, momentum, nesterov)


def adam_update(real[::1] w, const real[::1] g, real[::1] m, real[::1] v, double learning_rate, double beta1,
                double beta2, double epsilon, Py_ssize_t step):
    """In place, see optimizers.pyx."""
    expect(w.shape[0] == g.shape[0] == m.shape[0] == v.shape[0] and step >= 1, "lengths differ, or step below 1")
    if w.shape[0]:
        optimizers.adam_update(&w[0], &g[0], &m[0], &v[0], w.shape[0], learning_rate, beta1, beta2, epsilon, step)


def all_finite(const real[::1] x):
    """No NaN, no infinity."""
    return x.shape[0] == 0 or optimizers.all_finite(&x[0], x.shape[0])


def dropout_forward(const real[:, ::1] x, real[:, ::1] y, unsigned char[:, ::1] mask, double rate,
                    unsigned long long seed, unsigned long long step, unsigned int layer):
    """y = mask x / (1 - rate), mask from (seed, step, layer, element)."""
    cdef Py_ssize_t i
    expect(x.shape[0] == y.shape[0] == mask.shape[0] and x.shape[1] == y.shape[1] == mask.shape[1], "shapes differ")
    expect(x.shape[1] > 0, "no columns")
    for i in range(x.shape[0]):
        random.dropout_forward(&x[i, 0], &y[i, 0], &mask[i, 0], i, x.shape[1], rate, seed, step, layer)


def dropout_backward(const real[::1] dy, const unsigned char[::1] mask, real[::1] dx, double rate):
    """dx = mask dy / (1 - rate)."""
    expect(dy.shape[0] == mask.shape[0] == dx.shape[0], "lengths differ")
    if dy.shape[0]:
        random.dropout_backward(&dy[0], &mask[0], &dx[0], dy.shape[0], rate)


def philox(unsigned long long seed, unsigned long long step, unsigned int stream, unsigned int block0):
    """64 words of the generator: row w, column b is word w of block block0 + b."""
    cdef unsigned int[64] words
    cdef int k
    random.philox(seed, step, stream, block0, words)
    return [[words[16 * k + b] for b in range(16)] for k in range(4)]


def tile_shape(real like):
    """MR, NR: the register tile."""
    return MR, panel_width(&like)
