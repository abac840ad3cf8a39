"""Effect: what each batch size of a sweep does to a training, at the rate that is shown."""

from __future__ import annotations

from batchlab.records.study import Study
from batchlab.report.parts.effect import Effect
from batchlab.report.parts.effect_text import gap_text, noise_text, plateau_text
from batchlab.report.parts.plateaus import Plateaus
from batchlab.report.sweep.cells import chosen_cells


def effects(study: Study, plateaus: Plateaus) -> tuple[Effect, ...]:
    """The effect of every batch size that is shown, in ascending order."""
    return tuple(
        Effect.of(study, cell.ended_well, plateaus, batch_size=cell.batch_size)
        for cell in chosen_cells(study)
    )


def effect_sentences(study: Study, plateaus: Plateaus) -> dict[str, str]:
    """One sentence on each effect that was seen: "gap", "epochs", "noise"."""
    found = effects(study, plateaus)
    said = {
        "gap": gap_text(study, found),
        "epochs": plateau_text(study, found),
        "noise": noise_text(study, found),
    }
    return {name: sentence for name, sentence in said.items() if sentence is not None}
