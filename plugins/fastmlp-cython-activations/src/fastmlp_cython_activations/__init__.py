"""Activations for fastmlp as native kernels, found by name through entry points; nothing here has to be imported."""
