"""Each command as it is typed: what it prints for people, its one JSON document, its files."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised, put_checkpoint
from tests.reference.stored_study import put_study
from tests.reference.studies_to_compare import profile_to_compare, study_to_compare
from tests.reference.user_file import write_user_file

from batchlab.measure.profile import Profile
from batchlab.store.store import Store


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of mine.py, where a batch size is timed for 20 ms."""
    from batchlab.measure import profiling

    monkeypatch.setattr(profiling, "TIMED_S", 0.02)
    write_user_file(tmp_path)
    return tmp_path


# ---- of a workload


@pytest.mark.slow
def test_a_sound_workload_is_the_same_and_a_sum_is_not(do, mine):
    summed = "dict(loss=lambda model, batch: cross_entropy(model, batch) * len(batch[0]))"
    write_user_file(mine, name="summed.py", fields=summed)

    sound = do("check", "mine.py:workload")
    found = do("check", "summed.py:workload", "--json").document

    assert sound.code == 0
    assert "a batch and its micro-batches have the same gradient." in sound.said
    assert not found["equal"]
    assert [finding["cause"] for finding in found["findings"]] == ["sum"]


@pytest.mark.slow
def test_a_profile_is_one_document_or_a_table_that_says_what_fits(do, mine):
    printed = do("profile", "mine.py:workload", "--batch-sizes", "8,full", "--json")
    shown = do("profile", "mine.py:workload", "--batch-sizes", "8,full", "--memory-limit", "2GiB")

    assert printed.document
    made = Profile.from_json(printed.out)
    assert [point.batch_size for point in made.points] == [8, 200]
    for point in made.points:
        assert point.ran
        assert point.peak_bytes
        if all(len(timing.block_s) > 1 for timing in point.timings):  # a busy machine leaves one
            step_s = point.step_s
            assert 0 < step_s.low <= step_s.estimate <= step_s.high
    assert (made.device, made.workload.n_train, made.workload.batch_size) == ("cpu", 200, 20)
    assert made.device_name
    assert dict(made.environment)["torch"] == torch.__version__
    assert not Path("batchlab.db").exists()
    assert "200 (full)" in shown.out
    assert re.search(r"ran without micro-batches within 2.15 GB[:,] 200 \(full\)", shown.said)


@pytest.mark.slow
def test_a_noise_is_a_table_or_one_document(do, mine):
    noise = ("noise", "mine.py:workload", "--steps", "16")
    document = do(*noise, "--json").document

    shown = do(*noise)
    assert shown.code == 0
    assert "In a batch of 20," in shown.said
    assert [point["step"] for point in document["along"]] == [0, 1, 2, 4, 8, 16]
    assert document["gradient_noise_scale"] == document["along"][-1]["gradient_noise_scale"]


# ---- of a store


@pytest.mark.parametrize("text", ["{}", "[", '{"reason": {"code": "other_form"}}'])
def test_of_an_advice_that_does_not_read_the_trials_are_shown(stored, do, text):
    with Store(stored) as store:
        study = store.study()
        store.put_document(study.study_id, "advice", text)

    done = do("report", "--store", str(stored), "--format", "json")

    assert (done.err, json.loads(done.out)["study"]) == ("", study.study_id)
    # A report into files prints where they are.
    files = do("report", "--store", str(stored), "--format", "csv", "--study", "made")
    assert files.code == 0
    assert all(Path(line).stat().st_size > 0 for line in files.out.splitlines())
    assert files.out


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
def test_the_weights_are_in_a_file_and_one_line_says_whose_they_are(do, averaged):
    advice = made_up_advice()
    with Store("batchlab.db") as store:
        for record in put_advised(store, advice).records:
            put_checkpoint(store, record, averaged=averaged)

    done = do("weights")

    size = advice.recommendation.batch_size
    assert done.code == 0, done.err
    assert done.out.startswith(f"model.safetensors: batch size {size}, learning rate ")
    assert f"batch size {size}" in " ".join(do("report", "--format", "text").said.split())
    assert "validation accuracy 9" in done.out
    assert done.out.rstrip().endswith(", the averaged weights") == averaged
    weights = load_file("model.safetensors")
    assert weights.keys() == {"weight", "bias"}
    assert bool(weights["weight"].any())


# ---- of studies, profiles and points


@pytest.mark.slow
def test_stores_and_printed_profiles_are_compared_as_text_and_as_one_document(do):
    draw = np.random.default_rng(5)
    for name in ("here.json", "there.json"):
        Path(name).write_text(profile_to_compare(draw).to_json())
    for name, slower in (("before.db", 1.0), ("after.db", 1.5)):
        with Store(name) as store:
            put_study(store, study_to_compare(draw, slower=slower))

    shown = do("compare", "before.db", "after.db")
    document = do("compare", "a", "after.db", "--json", "--store", "before.db").document

    verdicts = {figure["quantity"]: figure["verdict"] for figure in document["figures"]}
    assert verdicts["step_s"] == "differs"
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("B differs in: time per step")
    alike = do("compare", "here.json", "there.json").out
    assert "No measured difference is larger than the noise." in alike


def test_a_fit_as_text_names_the_law(do):
    """Of two seeds on the law with S_min = 1000 and B_crit = 100, one percent apart."""
    each = itertools.product((10, 30, 100, 300, 1000), (995, 1005))
    lines = [f"{size},{steps * (1 + 100 / size)}\n" for size, steps in each]
    Path("points.csv").write_text("".join(["batch_size,steps_to_target\n", *lines]))

    done = do("fit", "points.csv")

    assert (done.code, done.err) == (0, "")
    assert "B_crit" in done.out
    assert do("fit", "points.csv", "--json").document["source"] == "points.csv"


def test_a_workload_that_is_named_counts_before_a_file_that_lies_there(do):
    Path("batchlab.toml").write_text("nonsense = 1")

    told = do("profile", "no-such-workload").err

    assert "no-such-workload" in told
    assert "nonsense" not in told
