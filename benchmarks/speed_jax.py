"""JAX's side of `benchmarks.speed`: `jit` of `scan` over steps; run by its path.

    python benchmarks/speed_jax.py WIDTH OPTIMIZER BATCH_SIZE STEPS

It prints a line when it is compiled, and then, for each line that it reads, the CPU seconds of one
call of so many steps.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

# On one core XLA has one thread: more would wait for one another, and their waiting is CPU time.
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def main() -> None:
    width, optimizer, batch_size, n_steps = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5])
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((60_000, 784), dtype=np.float32))
    labels = jnp.asarray(rng.integers(0, 10, 60_000))
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    sizes = ((784, width), (width, width), (width, 10))
    weights = [
        (jax.random.uniform(key, size, minval=-(size[0] ** -0.5), maxval=size[0] ** -0.5),
         jnp.zeros(size[1]))
        for key, size in zip(keys, sizes, strict=True)
    ]  # fmt: skip
    made = optax.adam(1e-3) if optimizer == "adam" else optax.sgd(0.01)

    def loss(weights: Any, x: Any, labels: Any) -> Any:
        for matrix, bias in weights[:-1]:
            x = jax.nn.relu(x @ matrix + bias)
        x = x @ weights[-1][0] + weights[-1][1]
        return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()

    def step(carried: Any, chosen: Any) -> Any:
        weights, state = carried
        value, gradient = jax.value_and_grad(loss)(weights, x[chosen], labels[chosen])
        updates, state = made.update(gradient, state)
        return (optax.apply_updates(weights, updates), state), value

    run = jax.jit(lambda carried, index: jax.lax.scan(step, carried, index), donate_argnums=0)
    index = jnp.asarray(rng.integers(0, 60_000, (n_steps, batch_size)))
    carried, losses = run((weights, made.init(weights)), index)
    jax.block_until_ready(losses)
    print(jax.__version__, flush=True)
    for _ in sys.stdin:
        started_s = time.process_time()
        carried, losses = run(carried, index)
        jax.block_until_ready(losses)
        print(time.process_time() - started_s, flush=True)


if __name__ == "__main__":
    main()
