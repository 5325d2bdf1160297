"""ONNX Runtime, behind the methods of `peers.Peer`: it only predicts."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from peers import Peer

OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def model(task, kernels, biases):
    """Gemm and activation, layer after layer; softmax last."""
    nodes, constants, last = [], [], len(kernels) - 1
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        constants += [numpy_helper.from_array(kernel, f"k{number}"), numpy_helper.from_array(bias, f"b{number}")]
        nodes.append(helper.make_node("Gemm", [f"a{number}", f"k{number}", f"b{number}"], [f"z{number}"]))
        operator = OPERATORS[task.hidden] if number < last else "Softmax"
        nodes.append(helper.make_node(operator, [f"z{number}"], [f"a{number + 1}"]))
    inputs = helper.make_tensor_value_info("a0", TensorProto.FLOAT, ["rows", task.sizes[0]])
    outputs = helper.make_tensor_value_info(f"a{last + 1}", TensorProto.FLOAT, ["rows", task.sizes[-1]])
    graph = helper.make_graph(nodes, "mlp", [inputs], [outputs], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class OnnxRuntime(Peer):
    """One session, on all threads."""

    name = "ONNX Runtime"
    trains = False

    def __init__(self, task, kernels, threads, biases):
        if task.loss != "cross-entropy" or kernels[0].dtype != np.float32:
            raise NotImplementedError("not needed")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        bytes_ = model(task, kernels, biases).SerializeToString()
        self.session = onnxruntime.InferenceSession(bytes_, options, providers=["CPUExecutionProvider"])

    def predict(self, x):
        return self.session.run(None, {"a0": x})[0]


PEERS = (OnnxRuntime,)
