"""The table of operations, with the names and layouts of their fields, and other names behind numbers.

Everybody reads it: the compiler in Python, dispatch, the NumPy twins and the tests. Names of fields are written once, in
the structs of `plan_ops.pxd`. Compiled once, for all instruction-set levels.
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


cdef int add(str name, int code, bint row_wise, dict members) except -1:
    """Add an operation to the table, from the members of its struct with all bits set: then a float is NaN, a reference,
    being unsigned, is positive, and any other integer is -1."""
    cdef OpSpec spec = OpSpec()
    fields = flat(members)
    spec.name, spec.code, spec.row_wise = name, code, row_wise
    spec.references = frozenset([field for field, value in fields.items() if value > 0])
    spec.layout = {
        "names": list(fields), "formats": ["f8" if type(value) is float else "i8" for value in fields.values()],
        "offsets": list(range(0, 8 * len(fields), 8)), "itemsize": RECORD_BYTES,
    }
    OPS[name] = spec
    return 0


cdef int add_all() except -1:
    """Fill the table: name, code, whether it is row-wise, struct."""
    cdef op_t o
    memset(&o, 255, sizeof(o))
    add("gather", GATHER, True, o.gather)
    add("dense", DENSE, True, o.dense)
    add("batchnorm_statistics", BATCHNORM_STATISTICS, False, o.batchnorm_statistics)
    add("batchnorm_running", BATCHNORM_RUNNING, False, o.batchnorm_running)
    add("batchnorm_fold", BATCHNORM_FOLD, False, o.batchnorm_fold)
    add("batchnorm", BATCHNORM, True, o.batchnorm)
    add("activation", ACTIVATION, True, o.activation)
    add("parametric", PARAMETRIC, True, o.parametric)
    add("dropout", DROPOUT, True, o.dropout)
    add("softmax", SOFTMAX, True, o.softmax)
    add("add", ADD, True, o.add)
    add("layernorm", LAYERNORM, True, o.layernorm)
    add("layernorm_backward", LAYERNORM_BACKWARD, True, o.layernorm_backward)
    add("layernorm_sums", LAYERNORM_SUMS, False, o.layernorm_sums)
    add("noise", NOISE, True, o.noise)
    add("unit_norm", UNIT_NORM, True, o.unit_norm)
    add("unit_norm_backward", UNIT_NORM_BACKWARD, True, o.unit_norm_backward)
    add("column_factors", COLUMN_FACTORS, False, o.column_factors)
    add("standardize", STANDARDIZE, True, o.standardize)
    add("copy", COPY, True, o.copy)
    add("select", SELECT, True, o.select)
    add("select_backward", SELECT_BACKWARD, True, o.select_backward)
    add("embedding", EMBEDDING, True, o.embedding)
    add("embedding_sums", EMBEDDING_SUMS, False, o.embedding_sums)
    add("loss", LOSS, True, o.loss)
    add("loss_sum", LOSS_SUM, False, o.loss_sum)
    add("keep_output", KEEP_OUTPUT, True, o.keep_output)
    add("activation_backward", ACTIVATION_BACKWARD, True, o.activation_backward)
    add("parametric_backward", PARAMETRIC_BACKWARD, True, o.parametric_backward)
    add("parametric_sums", PARAMETRIC_SUMS, False, o.parametric_sums)
    add("dropout_backward", DROPOUT_BACKWARD, True, o.dropout_backward)
    add("softmax_backward", SOFTMAX_BACKWARD, True, o.softmax_backward)
    add("batchnorm_backward_sums", BATCHNORM_BACKWARD_SUMS, False, o.batchnorm_backward_sums)
    add("batchnorm_backward", BATCHNORM_BACKWARD, True, o.batchnorm_backward)
    add("d_kernel", D_KERNEL, False, o.d_kernel)
    add("d_kernel_sum", D_KERNEL_SUM, False, o.d_kernel)
    add("d_input", D_INPUT, True, o.d_input)
    add("penalty", PENALTY, False, o.penalty)
    add("penalty_sum", PENALTY_SUM, False, o.penalty_sum)
    add("check", CHECK, False, o.check)
    add("abort_if_nonfinite", ABORT_IF_NONFINITE, False, o.abort_if_nonfinite)
    add("clip_value", CLIP_VALUE, False, o.clip)
    add("squared_norm", SQUARED_NORM, False, o.clip)
    add("clip_norm", CLIP_NORM, False, o.clip)
    add("batchnorm_update", BATCHNORM_UPDATE, False, o.batchnorm_update)
    add("sgd", SGD, False, o.sgd)
    add("adam", ADAM, False, o.adam)
    add("traced_update", TRACED_UPDATE, False, o.traced_update)
    add("average", AVERAGE, False, o.average)
    add("python", PYTHON, False, o.python)
    return 0


RECORD_BYTES = sizeof(op_t)     # of an operation in a plan
OPS = {}
add_all()

# Numbers of arenas; a reference is number << SHIFT | offset.
ARENAS = {
    "parameters": PARAMETERS, "gradients": GRADIENTS, "state": STATE, "buffers": BUFFERS, "work": WORK, "x": X,
    "target": TARGET, "weight": WEIGHT, "out": OUT, "kept": KEPT,
    "undo parameters": UNDO + PARAMETERS, "undo state": UNDO + STATE, "undo buffers": UNDO + BUFFERS,
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
    "binary": nn_losses.BINARY_ACCURACY, "signs": nn_losses.SIGN_ACCURACY,
}
PENALTY_CHUNK = nn_penalties.CHUNK      # numbers of a parameter that a sum of penalty terms covers
