"""The table of operations, with the names and layouts of their fields, and other names behind numbers.

Everybody reads it: the compiler in Python, dispatch, the NumPy twins and the tests. Names of fields are written once, in
the structs of `plan_ops.pxd`.
"""
from libc.string cimport memset

from . cimport nn_activations, nn_losses, nn_penalties


cdef class OpSpec:
    """An operation of a plan, as the table describes it.

    Attributes
    ----------
    name : str
    code : int
    row_wise : bool
        A row of the batch meets no other: some rows may go through several such operations before the next rows do.
    layout : dict
        What ``numpy.dtype`` takes: names, formats ("i8" or "f8") and offsets of the fields, those of the head first.
    references : frozenset
        Fields that are NONE where they are left out; all others are 0.
    """
    cdef readonly str name
    cdef readonly int code
    cdef readonly bint row_wise
    cdef readonly dict layout
    cdef readonly frozenset references

    def __repr__(self):
        return f"<operation {self.name!r}, code {self.code}>"


cdef dict flat(dict members):
    """Return the members of a struct, those of structs within it in their place."""
    found = {}
    for name, value in members.items():
        found.update(flat(value) if type(value) is dict else {name: value})
    return found


cdef tuple entry(str name, int code, bint row_wise, dict members, size_t size):
    """Return (name, OpSpec) of an operation, from its struct with all bits set: a float is NaN then, a reference, being
    unsigned, is positive, and any other integer is -1."""
    cdef OpSpec spec = OpSpec()
    fields = flat(members)
    if size != 8 * len(fields):
        raise SystemError(f"{name}: {size} bytes, {len(fields)} fields")
    spec.name, spec.code, spec.row_wise = name, code, row_wise
    spec.references = frozenset(field for field, value in fields.items() if value > 0)
    spec.layout = {
        "names": list(fields), "formats": ["f8" if type(value) is float else "i8" for value in fields.values()],
        "offsets": list(range(0, <Py_ssize_t> size, 8)), "itemsize": RECORD_BYTES,
    }
    return name, spec


RECORD_BYTES = sizeof(op_t)     # of an operation in a plan

cdef op_t o
memset(&o, 255, sizeof(o))

OPS = dict((
    entry("gather", GATHER, True, o.gather, sizeof(o.gather)),
    entry("dense", DENSE, True, o.dense, sizeof(o.dense)),
    entry("batchnorm_statistics", BATCHNORM_STATISTICS, False, o.batchnorm_statistics, sizeof(o.batchnorm_statistics)),
    entry("batchnorm_running", BATCHNORM_RUNNING, False, o.batchnorm_running, sizeof(o.batchnorm_running)),
    entry("batchnorm_fold", BATCHNORM_FOLD, False, o.batchnorm_fold, sizeof(o.batchnorm_fold)),
    entry("batchnorm", BATCHNORM, True, o.batchnorm, sizeof(o.batchnorm)),
    entry("activation", ACTIVATION, True, o.activation, sizeof(o.activation)),
    entry("parametric", PARAMETRIC, True, o.parametric, sizeof(o.parametric)),
    entry("dropout", DROPOUT, True, o.dropout, sizeof(o.dropout)),
    entry("softmax", SOFTMAX, True, o.softmax, sizeof(o.softmax)),
    entry("add", ADD, True, o.add, sizeof(o.add)),
    entry("layernorm", LAYERNORM, True, o.layernorm, sizeof(o.layernorm)),
    entry("layernorm_backward", LAYERNORM_BACKWARD, True, o.layernorm_backward, sizeof(o.layernorm_backward)),
    entry("layernorm_sums", LAYERNORM_SUMS, False, o.layernorm_sums, sizeof(o.layernorm_sums)),
    entry("loss", LOSS, True, o.loss, sizeof(o.loss)),
    entry("loss_sum", LOSS_SUM, False, o.loss_sum, sizeof(o.loss_sum)),
    entry("keep_output", KEEP_OUTPUT, True, o.keep_output, sizeof(o.keep_output)),
    entry("activation_backward", ACTIVATION_BACKWARD, True, o.activation_backward, sizeof(o.activation_backward)),
    entry("parametric_backward", PARAMETRIC_BACKWARD, True, o.parametric_backward, sizeof(o.parametric_backward)),
    entry("parametric_sums", PARAMETRIC_SUMS, False, o.parametric_sums, sizeof(o.parametric_sums)),
    entry("dropout_backward", DROPOUT_BACKWARD, True, o.dropout_backward, sizeof(o.dropout_backward)),
    entry("softmax_backward", SOFTMAX_BACKWARD, True, o.softmax_backward, sizeof(o.softmax_backward)),
    entry("batchnorm_backward_sums", BATCHNORM_BACKWARD_SUMS, False, o.batchnorm_backward_sums,
          sizeof(o.batchnorm_backward_sums)),
    entry("batchnorm_backward", BATCHNORM_BACKWARD, True, o.batchnorm_backward, sizeof(o.batchnorm_backward)),
    entry("d_kernel", D_KERNEL, False, o.d_kernel, sizeof(o.d_kernel)),
    entry("d_kernel_sum", D_KERNEL_SUM, False, o.d_kernel, sizeof(o.d_kernel)),
    entry("d_input", D_INPUT, True, o.d_input, sizeof(o.d_input)),
    entry("penalty", PENALTY, False, o.penalty, sizeof(o.penalty)),
    entry("penalty_sum", PENALTY_SUM, False, o.penalty_sum, sizeof(o.penalty_sum)),
    entry("check", CHECK, False, o.check, sizeof(o.check)),
    entry("abort_if_nonfinite", ABORT_IF_NONFINITE, False, o.abort_if_nonfinite, sizeof(o.abort_if_nonfinite)),
    entry("batchnorm_update", BATCHNORM_UPDATE, False, o.batchnorm_update, sizeof(o.batchnorm_update)),
    entry("sgd", SGD, False, o.sgd, sizeof(o.sgd)),
    entry("adam", ADAM, False, o.adam, sizeof(o.adam)),
    entry("traced_update", TRACED_UPDATE, False, o.traced_update, sizeof(o.traced_update)),
    entry("python", PYTHON, False, o.python, sizeof(o.python)),
))

# Numbers of arenas; a reference is number << SHIFT | offset.
ARENAS = {
    "parameters": PARAMETERS, "gradients": GRADIENTS, "state": STATE, "buffers": BUFFERS, "work": WORK, "x": X,
    "target": TARGET, "weight": WEIGHT, "out": OUT, "kept": KEPT,
}

# Codes of activations, losses and metrics. The last of the first two is what has no kernel: see vm.pxd.
ACTIVATIONS = {
    "identity": nn_activations.IDENTITY, "relu": nn_activations.RELU, "leaky_relu": nn_activations.LEAKY_RELU,
    "sigmoid": nn_activations.SIGMOID, "tanh": nn_activations.TANH, "exponential": nn_activations.EXPONENTIAL,
    "sin": nn_activations.SIN, "cos": nn_activations.COS, "relu_by_sign": nn_activations.RELU_BY_SIGN,
    "extension": nn_activations.EXTENSION,
}
LOSSES = {
    "half_squared_error": nn_losses.HALF_SQUARED_ERROR, "mean_squared_error": nn_losses.MEAN_SQUARED_ERROR,
    "sparse_softmax_crossentropy": nn_losses.SPARSE_SOFTMAX_CROSSENTROPY,
    "softmax_crossentropy": nn_losses.SOFTMAX_CROSSENTROPY, "sigmoid_crossentropy": nn_losses.SIGMOID_CROSSENTROPY,
    "sparse_crossentropy": nn_losses.SPARSE_CROSSENTROPY, "crossentropy": nn_losses.CROSSENTROPY,
    "binary_crossentropy": nn_losses.BINARY_CROSSENTROPY, "program": nn_losses.PROGRAM,
}
METRICS = {
    "none": nn_losses.NO_METRIC, "sparse": nn_losses.SPARSE_ACCURACY, "categorical": nn_losses.CATEGORICAL_ACCURACY,
    "binary": nn_losses.BINARY_ACCURACY,
}
PENALTY_CHUNK = nn_penalties.CHUNK      # numbers of a parameter that a sum of penalty terms covers
