"""Steps are updates of four micro-batches (deepspeedai/DeepSpeed#131)."""

import argparse

from net import batches, begun

parser = argparse.ArgumentParser()
parser.add_argument("--train_micro_batch_size_per_gpu", type=int, default=16)
parser.add_argument("--gradient_accumulation_steps", type=int, default=1)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
x, y, held_out, net, random = begun(asked.seed)
step = 0
size = asked.train_micro_batch_size_per_gpu * asked.gradient_accumulation_steps
for epoch in range(1, 7):
    for batch in batches(len(x), size, random):
        net.step(x[batch], y[batch], asked.lr)
        step += 1
    loss = net.measured(*held_out)[0]
    print(f"[Rank 0] epoch={epoch}, step={step}, lr=[{asked.lr}], eval_loss={loss:.5f}", flush=True)
