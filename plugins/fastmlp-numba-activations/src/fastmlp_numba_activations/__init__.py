"""Activations for fastmlp, compiled by numba, found by name through entry points; nothing here has to be imported."""
