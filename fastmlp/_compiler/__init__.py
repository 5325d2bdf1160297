"""From a network to what runs: a graph of operations, memory, executables, and `Compiled`, which owns them."""
