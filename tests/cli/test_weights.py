from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised, put_checkpoint

from batchlab.store.store import Store


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
def test_the_weights_are_in_a_file_and_one_line_says_whose_they_are(
    do: Any, averaged: bool
) -> None:
    advice = made_up_advice()
    with Store(Path("batchlab.db")) as store:
        for record in put_advised(store, advice).records:
            put_checkpoint(store, record, averaged=averaged)
    assert advice.recommendation is not None

    done = do("weights")

    assert done.code == 0, done.err
    assert done.out.startswith(
        f"model.safetensors: batch size {advice.recommendation.batch_size}, learning rate "
    )
    assert "validation accuracy 9" in done.out
    assert done.out.rstrip().endswith(", the averaged weights") == averaged
    weights = load_file("model.safetensors")
    assert weights.keys() == {"weight", "bias"}
    assert bool(weights["weight"].any())
