"""Tracing: a callable in NumPy becomes a program that runs inside the plan.

A callable is called once with symbols in place of arrays. What it does to them becomes a graph, which is simplified
while it is built and can be differentiated; instructions are made of it, and their results are compared with NumPy's
before a network uses them. What can't be traced raises `Untraceable`, whose message is the reason that users read.

========================  ======================================================================================
`operations`              the operations of a graph, and the same in NumPy
`graph`                   operations on numbers in order, equal ones being one; run in NumPy; turned into JSON
`simplification`          rules by which a new operation becomes a cheaper one
`derivatives`             rules of differentiation
`reading`                 graphs from files: nothing else passes, and nothing of it is run
`assembly`, `vm`          instructions made of a graph, and the virtual machine of the kernels that runs them
`ufuncs`, `symbols`       what stands for an array while code is traced, and the functions of NumPy that it knows
`sum_symbols`             symbols of a known shape that may be summed up at the end
`elementwise`             traces g(z) and its derivative (`elementwise_comparison` compares them with NumPy)
`row_sums`, `array_sums`  trace value and gradient of a sum over each row of a batch, or over one array
`updates`                 traces a function that changes arrays in place, step by step
`native`                  compiled functions instead of a program (`native_sources`, `native_verification`)
`trainable`               what stands in an object in place of a number that layers train
`comparison`              the comparison of values with NumPy's, for all of them
`cache`                   what is remembered of objects and of programs, and the guard against re-entrance
`execution`               how an object runs, and why in Python
========================  ======================================================================================

Modules are imported one by one: who uses built-ins with kernels alone needs no more than `trainable`, `native` and
`execution`.
"""
