"""Data, steps and the loop: what trains, evaluates and predicts with a `Compiled` network."""
