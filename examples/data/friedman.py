"""Writes friedman.csv: 1,000 rows of Friedman's first benchmark, the same ones each time.

    python examples/data/friedman.py

y = 10 sin(pi a b) + 20 (c - 1/2)^2 + 10 d + 5 e + noise; a to h are uniform in [0, 1], f to h have
no part in it, the noise is normal with standard deviation 1.
Source: Friedman 1991, "Multivariate adaptive regression splines", Ann. Statist. 19, section 4.3.
"""

import math
import random
from pathlib import Path

COLUMNS = "abcdefgh"


def rows(n=1000, seed=1991):
    draw = random.Random(seed)
    yield ",".join([*COLUMNS, "y"])
    for _ in range(n):
        x = [round(draw.random(), 3) for _ in COLUMNS]
        a, b, c, d, e, *_ = x
        y = 10 * math.sin(math.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e
        yield ",".join([*map(str, x), f"{y + draw.gauss(0, 1):.4f}"])


if __name__ == "__main__":
    Path(__file__).with_suffix(".csv").write_text("\n".join(rows()) + "\n")
