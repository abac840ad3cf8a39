"""The examples' own commands and those of frameworks, run whole, and growing runs resumed."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.reference.example_commands import EXAMPLES, NAMES, commands

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.nightly


def run(*arguments: str, folder: Path) -> tuple[dict[str, Any], float]:
    """What a command writes as JSON, and the seconds that it took."""
    command = [sys.executable, "-m", "batchlab", *arguments]
    started_s = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    spent_s = time.monotonic() - started_s
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    print(f"{arguments[0]} in {spent_s:.0f} s, {len(document['trials'])} trials")
    return document, spent_s


@pytest.mark.parametrize("name", NAMES)
def test_an_examples_own_commands_take_a_minute_each(name, tmp_path):
    for command in commands(name):
        words = [f"{ROOT}/{word}" if word.startswith("examples/") else word for word in command]
        document, spent_s = run(*words, "--json", folder=tmp_path)
        assert spent_s < 62  # a budget is a ceiling; Python itself starts before it
        assert document["trials"]
        if words[0] == "advise":
            caveats = [caveat["code"] for caveat in document["caveats"]]
            assert name != "clip" or "loss_couples" in caveats


USUAL = "--batch-size={batch_size} --lr={learning_rate} --seed={seed}"
# What each needs, its metric, its options, and the last step of two epochs of 32 and of 128.
FRAMEWORKS = {
    "plain_pytorch": ((), "val_loss", f"{USUAL} --epochs=4", (250, 64)),
    "hugging_face": (
        ("transformers", "accelerate"),
        "eval_loss",
        "--per_device_train_batch_size={batch_size} --learning_rate={learning_rate} --seed={seed} "
        "--output_dir={output_dir} --num_train_epochs=3",
        (126, 32),
    ),
    "keras_fit": (("keras", "jax"), "val_loss", USUAL, (250, 64)),
    "lightning_trainer": (("lightning",), "val_loss", USUAL, (250, 64)),
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_output_of_an_example_is_followed_in_a_sweep(name, tmp_path):
    needed, metric, options, steps = FRAMEWORKS[name]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pip install {' '.join(needed)}")
    given = ["--metric", metric, "--learning-rate", "0.001", "--batch-sizes", "32,128"]
    given += ["--batch-size", "32", "--epochs", "2", "--json", "--"]
    script = [sys.executable, f"{EXAMPLES}/commands/{name}.py", *options.split()]

    document, _ = run("sweep", *given, *script, folder=tmp_path)

    trials = document["trials"]
    assert [trial["status"] for trial in trials] == ["ok", "ok"]
    for trial, last in zip(trials, steps, strict=True):
        assert trial["steps"] == last
        assert trial["final"]["validation"][metric] > 0


ACCELERATE = """
import sys
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import batchlab
from batchlab import plans

begun = len(sys.argv) > 1
torch.manual_seed(len(sys.argv))  # other weights, which a checkpoint replaces
draw = torch.Generator().manual_seed(0)
plan = plans.steps(8, {25: 32}, unit="steps", epochs=3, scaling_rule="sqrt")
x = torch.randn(200, 4, generator=draw)
train = TensorDataset(x, x.sum(1, keepdim=True))
model = nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)
rates = sampler.scheduler(optimizer)
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(even_batches=False))
loader = DataLoader(train, batch_sampler=sampler)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
accelerator.register_for_checkpointing(rates)
if begun:
    accelerator.load_state("kept")
    loader = accelerator.skip_first_batches(loader, 20)
for inputs, wanted in loader:
    accelerator.backward(nn.functional.mse_loss(model(inputs), wanted))
    optimizer.step()
    rates.step()
    optimizer.zero_grad()
    if rates.last_epoch == 20:
        accelerator.save_state("kept")
weights = [part.tolist() for part in model.parameters()]
print(rates.last_epoch, optimizer.param_groups[0]["lr"], weights)
"""
# Lightning's own example with a checkpoint at step 20; resumed it begins there.
LIGHTNING = """
import runpy, sys
import lightning, torch

made = lightning.Trainer

def trainer(**given):
    given |= {"enable_checkpointing": True, "enable_progress_bar": False}
    kept = lightning.pytorch.callbacks.ModelCheckpoint(
        ".", filename="{step}", every_n_train_steps=20, save_top_k=-1
    )
    found = made(**given, callbacks=[kept])
    fit = found.fit
    found.fit = lambda *a: fit(*a, ckpt_path=sys.argv[1] if len(sys.argv) > 1 else None)
    return found

lightning.Trainer = trainer
torch.manual_seed(len(sys.argv))  # other weights, which a checkpoint replaces
model = runpy.run_path(EXAMPLE)["model"]
print([part.tolist() for part in model.parameters()])
"""


@pytest.mark.parametrize(
    ("framework", "source", "again", "first"),
    [
        ("accelerate", ACCELERATE, "again", "39 "),
        ("lightning", LIGHTNING, "step=20.ckpt", "39 steps of 39, the last at rate 0.02"),
    ],
)
def test_a_run_of_a_framework_goes_on_from_its_middle_bit_for_bit(
    framework, source, again, first, tmp_path
):
    pytest.importorskip(framework)
    script = tmp_path / "resumed.py"
    script.write_text(source.replace("EXAMPLE", repr(f"{EXAMPLES}/growing/on_lightning.py")))

    def last_lines(*arguments: str) -> list[str]:
        command = [sys.executable, str(script), *arguments]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        told = {"capture_output": True, "text": True, "check": True}
        done = subprocess.run(command, cwd=tmp_path, env=environment, **told)
        return done.stdout.splitlines()[-2:]

    whole = last_lines()

    assert whole == last_lines(again)
    assert whole[0].startswith(first)
