"""Workloads as people have them: answered rightly, or refused in words that say what to do."""

import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.slow
def test_a_batch_of_lists_is_checked_once_its_weight_is_known(do):
    file = f"{SCRIPTS}/detection.py:workload"

    asked = do("check", file)
    counted = do("check", file, "--set", "counted=true", "--json")

    # Its loss is a mean over pictures and one over boxes, which no weight makes one.
    (cause,) = [each["cause"] for each in json.loads(counted.out)["findings"]]
    assert cause in ("coupled", "weight")
    assert asked.code == 1
    assert "give `weight`, such as weight=lambda batch: len(batch[1])" in asked.err


@pytest.mark.slow
def test_a_loss_that_works_in_training_mode_alone_is_told_with_the_mode(do):
    done = do("sweep", f"{SCRIPTS}/detection.py:workload", "--set", "counted=true", "--epochs", "1")

    assert done.code == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("error")]
    assert "'list' object has no attribute 'values'" in line
    assert "in evaluation mode (model.eval())" in line
    assert "in training mode it runs" in line


@pytest.mark.slow
def test_a_batch_without_a_known_label_ends_a_training_at_any_rate(do):
    file = f"{SCRIPTS}/missing_labels.py:workload"

    found = json.loads(do("check", file, "--json").out)
    done = do("sweep", file, "--batch-sizes", "4,64", "--epochs", "2", "--budget", "30s")

    assert [each["cause"] for each in found["findings"]] == ["weight"]
    assert "Either a batch has nothing to take the mean of (no known" in done.said
    assert "try a smaller learning rate" not in done.said
    assert "2 trials: 1 not a number, 1 ok." in done.said


@pytest.mark.slow
def test_a_memory_limit_holds_the_evaluation_too(do):
    file = f"{SCRIPTS}/dear_metric.py:workload"

    refused = do("profile", file, "--batch-sizes", "16,32", "--memory-limit", "150MiB")

    assert refused.code == 1
    assert "memory limit 157 MB: an evaluation of workload 'dear' needs " in refused.err
