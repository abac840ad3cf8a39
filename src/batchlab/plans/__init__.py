"""Planning: which trials, how large their batches are by step, when they are evaluated."""
