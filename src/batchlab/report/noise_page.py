"""How noisy a gradient is along a training, as one self-contained page."""

from __future__ import annotations

from batchlab.measure.noise import Noise
from batchlab.report.noise_figures import noise_figures
from batchlab.report.noise_text import layers_table, noise_facts, noise_table, noise_title
from batchlab.report.page import download, render_page
from batchlab.report.palette import looks
from batchlab.words.catalogue import text


def noise_page(noise: Noise, *, command: str) -> str:
    """The page as text: what follows for the batch size in use first."""
    layers = layers_table(noise) if noise.points[-1].layers else None
    return render_page(
        "noise.html.j2",
        noise=noise,
        command=command,
        environment=list(noise.environment),
        figures=(figures := noise_figures(noise)),
        looks=looks([noise.batch_size], n_train=noise.n_train),
        title=noise_title(noise),
        facts=list(noise_facts(noise)),
        shown=figures,
        layers=layers,
        downloads=(
            download("batchlab-noise.csv", text("one row a step"), noise_table(noise)),
            *(
                (download("batchlab-layers.csv", text("one row a parameter"), layers),)
                if layers is not None
                else ()
            ),
        ),
    )
