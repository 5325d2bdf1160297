"""Builds the extension against fastmlp's header; all else stands in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import fastmlp as fm

# No -ffast-math and no contraction: the last elements of an array get the bits that they get elsewhere. Without errno
# and traps, compilers turn the loops into vectors all the same.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

setup(
    ext_modules=cythonize(
        Extension(
            "fastmlp_cython_activations._kernels",
            ["src/fastmlp_cython_activations/_kernels.pyx"],
            include_dirs=[fm.get_include()],
            extra_compile_args=FLAGS,
        ),
        build_dir="build",
    )
)
