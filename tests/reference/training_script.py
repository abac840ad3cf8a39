"""A training script whose curve is a formula: it starts at once and needs no library.

Its loss falls with the steps, soonest at the rate that is best for its batch size, and needs
`S_MIN * (1 + CRITICAL / batch_size)` steps to a third of the way; seeds scatter by a percent.
"""

import sys
from dataclasses import replace
from pathlib import Path

from batchlab.script.command import TrainingCommand

EXAMPLES = 2000
_SOURCE = """
import argparse, math, random, sys, time
p = argparse.ArgumentParser()
p.add_argument("--batch-size", type=int, default=16)
p.add_argument("--lr", type=float, default=0.1)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--epochs", type=int, default=40)
p.add_argument("--fail", default="")
a = p.parse_args()
B, N = a.batch_size, 2000
best = 0.1 * math.sqrt(B / 16)
slow = 1 + math.log2(a.lr / best) ** 2
scale = 30 * (1 + 64 / B) * slow
noise = random.Random(a.seed)
shift = 1 + 0.01 * noise.gauss(0, 1)
step = 0
per_epoch = -(-N // B)
every = max(1, 40 // B)
while step < a.epochs * per_epoch:
    step += 1
    if a.fail == "nan" and step > 20:
        print(f"step {step} val_loss nan", flush=True); continue
    if a.fail == "patience" and step > 100:
        break
    if a.fail == "crash" and step > 20:
        time.sleep(1)  # who only looks at it first has seen enough by then, on a busy machine too
        sys.exit("the disk is on fire")
    if step % every == 0:
        print(f"step {step} val_loss {0.1 + 2 * shift * math.exp(-step / scale):.9f}")
"""

# The same with steps of half a millisecond at least, so that they can be timed.
TIMED_SOURCE = _SOURCE.replace(
    "    step += 1\n",
    "    step += 1\n    until = time.perf_counter() + 0.0005\n"
    "    while time.perf_counter() < until: pass\n",
)


def training_script(
    folder: Path, *more: str, source=_SOURCE, seed=True, **fields: object
) -> TrainingCommand:
    """The command of a script that is written into a folder."""
    path = folder / "train.py"
    path.write_text(source)
    arguments = [
        *(sys.executable, "-I", "-S", "-u", "train.py"),
        *("--batch-size", "{batch_size}", "--lr", "{learning_rate}"),
        *(("--seed", "{seed}") if seed else ()),
        *more,
    ]
    usual = {"metric": "val_loss", "examples": EXAMPLES, "batch_size": 16, "learning_rate": 0.1}
    usual |= {"arguments": arguments, "folder": folder}
    return TrainingCommand(**{**usual, **fields})


def with_own_rate(command: TrainingCommand) -> TrainingCommand:
    """The same command without its learning rate: the script has one itself."""
    arguments = [a for a in command.arguments if a not in ("--lr", "{learning_rate}")]
    return replace(command, arguments=arguments, learning_rate=None)
