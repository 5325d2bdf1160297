"""PyTorch, eager and compiled, behind the methods of `peers.Peer`; Adam is the fused one."""

from __future__ import annotations

import warnings

import torch
from peers import Peer

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}


def linear(kernel):
    """A layer with this kernel and a bias of 0."""
    layer = torch.nn.Linear(*kernel.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
        layer.bias.zero_()
    return layer


def use_threads(count):
    """The setting is global to the process, and not free."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


class Torch(Peer):
    """Eager, on all threads."""

    name = "torch"

    def __init__(self, task, kernels, threads):
        self.threads = threads
        self.ready()
        layers = []
        for kernel in kernels:
            layers += [linear(kernel), ACTIVATIONS[task.hidden]()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.classifies = task.loss == "cross-entropy"
        self.loss = torch.nn.CrossEntropyLoss() if self.classifies else torch.nn.MSELoss()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.001, fused=True)

    def ready(self):
        use_threads(self.threads)

    def loss_of(self, x, y):
        return self.loss(self.net(x), y)

    def output_of(self, x):
        return torch.softmax(self.net(x), 1) if self.classifies else self.net(x)

    def train(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss_of(torch.from_numpy(x), torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def predict(self, x):
        with torch.inference_mode():
            return self.output_of(torch.from_numpy(x)).numpy()

    def kernels(self):
        return [p.detach().numpy().T.copy() for p in self.net.parameters() if p.ndim == 2]


class TorchOne(Torch):
    """Eager, on one thread, which is faster for small networks."""

    name = "torch 1"

    def __init__(self, task, kernels, threads):
        super().__init__(task, kernels, 1)


class TorchCompiled(Torch):
    """Forward, loss and backward pass compiled. Making one ends the others, so that none pays for old guards."""

    name = "torch.compile"

    @staticmethod
    def check():
        """Fail here rather than in a measurement; and compile in this process, anew each time."""
        import torch._inductor.config as inductor

        inductor.compile_threads = 1  # no processes that wait for work while others are measured
        inductor.force_disable_caches = True  # or a first call would be that of an earlier run
        warnings.filterwarnings("ignore", ".*force_disable_caches")
        torch.compile(torch.sin)(torch.ones(8))

    def __init__(self, task, kernels, threads):
        super().__init__(task, kernels, threads)
        torch.compiler.reset()
        self.loss_of = torch.compile(super().loss_of, dynamic=False)
        self.output_of = torch.compile(super().output_of, dynamic=False)


PEERS = (TorchOne, Torch, TorchCompiled)
