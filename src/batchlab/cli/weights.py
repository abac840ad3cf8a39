"""`batchlab weights`: writes the trained model of an advice's recommended configuration."""

from __future__ import annotations

from pathlib import Path

import click

from batchlab.cli.options import takes


@click.command()
@takes("store study_id output")
def weights(store: Path, study_id: str | None, output: Path) -> None:
    """Write the trained model of what an advice names to a file.

    It is the longest training run with that batch size and learning rate. Load it with
    model.load_state_dict(safetensors.torch.load_file(FILE)).
    """
    from batchlab.app.save_weights import save_weights
    from batchlab.words.catalogue import number_text

    saved = save_weights(output, store=store, study=study_id)
    trial = saved.record.trial
    rate = number_text(trial.learning_rate, "rate")
    reached = ""
    if saved.value is not None:
        value = number_text(saved.value, f"metric {saved.metric}")
        reached = f", validation {saved.metric} {value}"
    averaged = ", the averaged weights" if saved.are_averaged else ""
    print(
        f"{saved.path}: batch size {trial.batch_size}, learning rate {rate}, seed "
        f"{trial.seed}, {saved.record.epochs:.3g} epochs{reached}{averaged}"
    )
