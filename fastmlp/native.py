"""Native kernels of activations: what somebody who writes one needs.

`NativeKernel` takes compiled functions; `verify` compares them with the activation's NumPy form, as every network does
before it uses them.
"""

from __future__ import annotations

from ._tracing.native import NativeKernel
from .activations import verify

__all__ = ["NativeKernel", "verify"]
