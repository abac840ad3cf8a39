"""A training script that saves its state as JSON, and goes on from there where it is told to."""

import sys
from pathlib import Path

import batchlab
from batchlab.script.command import TrainingCommand

# Every step takes a number from its own random stream, so that a step done twice or left out shows.
_SOURCE = (
    f"""
import sys
sys.path.insert(0, {str(Path(batchlab.__file__).parents[1])!r})
"""
    + """
import json, os, random, signal, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
B, seed, folder = int(given["--batch-size"]), int(given["--seed"]), given["--out"]
rate, resume = float(given["--lr"]), given.get("--resume")
draw = random.Random(seed * 1000 + B)
step, loss = 0, 2.0
with open(os.path.join(os.path.dirname(sys.argv[0]), "starts.txt"), "a") as starts:
    starts.write(f"{B} {seed} {'from' if resume else 'anew'} {os.getpid()}\\n")
if resume:
    if os.path.exists("broken"):
        sys.exit("the checkpoint is broken")
    with open(os.path.join(resume, "state.json")) as file:
        step, loss, state = json.load(file)
    draw.setstate((state[0], tuple(state[1]), state[2]))

def save(*_):
    with open(os.path.join(folder, "state.new"), "w") as file:
        json.dump([step, loss, draw.getstate()], file)
    os.replace(os.path.join(folder, "state.new"), os.path.join(folder, "state.json"))

total = int(given.get("--steps", 100000))
last_save = int(given.get("--last-save", total))
pause_s = float(given.get("--pause", 0.002))
while step < total:
    step += 1
    loss += -rate * loss / 50 + 0.001 * draw.gauss(0, 1)
    if step % 4 == 0:
        import batchlab
        batchlab.log(step=step, val_loss=loss)
    if step % 10 == 0 and "--out" in given and step <= last_save:
        save()
    if step == int(given.get("--fill", 0)):
        with open("ballast", "wb") as file:
            while True:
                file.write(bytes(1024)); file.flush()
    time.sleep(pause_s)
"""
)


def saving_script(folder: Path, *more: str, resumes=True) -> TrainingCommand:
    """The command of a script that is written into a folder.

    `starts.txt` in the folder tells how it was started. `more` are further arguments in pairs:
    "--pause" seconds a step, "--last-save" the last step that may be saved, "--fill" the step at
    which the disk is filled.
    """
    (folder / "train.py").write_text(_SOURCE)
    arguments = (
        *(sys.executable, "-I", "-S", str(folder / "train.py")),
        *("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}"),
        *("--out", "{output_dir}"),
        *(("--resume", "{resume_from}") if resumes else ()),
        *more,
    )
    known = {"metric": "val_loss", "examples": 2000, "batch_size": 16, "learning_rate": 0.5}
    return TrainingCommand(arguments=arguments, folder=folder, **known)


def starts(folder: Path) -> list[str]:
    """How the script was started each time: its batch size, its seed, and `anew` or `from`."""
    return [" ".join(line.split()[:3]) for line in (folder / "starts.txt").read_text().splitlines()]


def pids(folder: Path) -> list[int]:
    told = folder / "starts.txt"
    lines = told.read_text().splitlines() if told.exists() else []
    return [int(line.split()[3]) for line in lines if len(line.split()) == 4]
