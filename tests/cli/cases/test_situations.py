"""Scripts rebuilt after public threads, begun as a stranger would (results/own_commands.md)."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest
from tests.cli.cases.conftest import TAKES
from tests.reference.by_day import by_day

BS = ("--bs", "{batch_size}", *TAKES[2:])
LUDWIG = (
    *("--trainer.batch_size", "{batch_size}", "--random_seed", "{seed}"),
    *("--trainer.learning_rate", "{learning_rate}"),
)
TOKENS = ("--max-tokens", "{batch_size}", *TAKES[2:])
GROWS = (*TAKES, "--rampup-samples", "2000")
# A script and its kind, the metric, what else it is given, and what is said if nothing but that
# metric is given: of those that run, what has to be said with the answer; of others, why they
# cannot, or what is asked.
RUN: list[tuple[str, str, tuple[str, ...], str]] = [
    ("prints.py inside", "val_acc", TAKES, "ValueError: `val_check_interval` (20) must be less"),
    ("prints.py at_once", "combined loss", LUDWIG, "reported all its progress at once, too soon"),
    ("prints.py normalized", "val_loss", TAKES, ""),
    ("prints", "val_loss", TAKES, ""),
    ("prints.py scaled", "val_loss", TAKES, "prints 0.001875 for 0.02 with batch size 24"),
    ("prints.py timed", "val_loss", TAKES, "only final values can be compared"),
]
BY_NIGHT: list[tuple[str, str, tuple[str, ...], str]] = [
    ("once_an_epoch.py", "val/acc", TAKES, "its progress counts only epochs"),
    ("prints.py filled", "val_loss", TOKENS, "training tokens, by the steps"),
    ("prints.py", "val_loss", ("--sizes", "{batch_size}", "256", *TAKES[2:]), ""),
    ("prints.py growing", "lm loss value", GROWS, "its progress counts no epochs"),
]
ASKED: list[tuple[str, str, tuple[str, ...], str]] = [
    ("evaluates_each_epoch.py", "test_grade", BS[:4], "needs --better (higher or lower"),
    ("prints.py folds", "val_loss", TAKES, "make it train one"),
    ("prints.py one_name", "loss", TAKES, "as in --metric 'val loss'"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "metric", "takes", "said"), by_day(RUN + BY_NIGHT + ASKED, RUN + ASKED)
)
def test_with_the_metric_alone_it_runs_or_is_told_why_not(ask, script, metric, takes, said):
    done = ask(script, "sweep", "--metric", metric, "--budget", "40s", takes=takes)

    if (script, metric, takes, said) not in ASKED:
        assert "What each batch size gives" in done.out, done.err
        assert said in done.said
    else:
        assert done.code in (1, 2)
        (message,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert said in message


# ---- batch sizes that were not trained, trainings that are too short, progress in a file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "given", "sizes", "told"),
    [
        (  # it halves it by itself
            "prints.py halved",
            "--metric eval_loss --batch-size 64",
            (64, 512),
            (
                "it did not train with the batch size that it was given",
                "it would have 2 to 3",
                "the steps of batch size 512 could not be timed",
            ),
        ),
        (
            "prints.py dropped",
            "--metric val_0_logloss --better lower --examples 1200 --batch-size 256",
            (256, 1100),
            ("at all 6 evaluations: either the model did not train",),
        ),
    ],
)
def test_a_size_that_was_not_trained_is_taken_out(ask, script, given, sizes, told):
    given += " --batch-sizes {},{} --learning-rates 0.02 --learning-rate 0.02".format(*sizes)

    done = ask(script, "sweep", *given.split(), "--json")

    ends = {each["batch_size"]: each["status"] for each in json.loads(done.out)["trials"]}
    assert ends == dict(zip(sizes, ("ok", "error"), strict=True))
    assert [text for text in told if text not in done.said] == []


@pytest.mark.slow
def test_each_epoch_is_read_of_a_script_that_writes_its_progress_into_a_file(ask):
    asked = "--metric val_acc --examples 2000 --learning-rates 0.02 --batch-sizes 32,128"
    takes = (*BS, "--out", "{output_dir}")

    done = ask("csv_only.py", "sweep", *asked.split(), "--budget", "20s", "--json", takes=takes)

    study = done.document
    assert [trial["status"] for trial in study["trials"]] == ["ok", "ok"]
    assert all("val_acc" in trial["final"]["validation"] for trial in study["trials"])
    with closing(sqlite3.connect("batchlab.db")) as store:
        counts = "SELECT count(*) FROM evaluations GROUP BY trial_id"
        assert store.execute(counts).fetchall() == [(8,), (8,)]


@pytest.mark.slow
def test_too_short_to_be_timed_is_no_reason_to_leave_out_ones_own_batch_size(ask):
    asked = ("--metric", "combined loss", "--batch-size", "64", "--batch-sizes", "64,256")

    done = ask("prints.py at_once", "advise", *asked, "--budget", "18s", "--json", takes=LUDWIG)

    advice = done.document
    assert advice["reference"]["batch_size"] == 64
    assert advice["objective"] == "samples"
    assert all(candidate["fits"] for candidate in advice["candidates"]), done.err
    assert any("and not by time" in caveat["text"] for caveat in advice["caveats"])


AT_END = "--metric eval_loss --examples 1025 --batch-size 64 --learning-rate 0.2".split()


@pytest.mark.slow
def test_a_metric_that_is_printed_once_gives_no_time_to_a_target(ask):
    advised = ask("prints.py at_end", "advise", *AT_END, "--budget", "18s")
    profiled = ask("prints.py at_end", "profile", *AT_END, "--batch-sizes", "64", "--budget", "9s")

    assert (advised.code, profiled.code) == (2, 1)
    assert "printed once, at the end of a training" in advised.err
    assert "Use batchlab sweep" in advised.err
    assert "could be timed: it ended by itself after" in profiled.err


@pytest.mark.slow
def test_without_an_evaluation_after_equal_epochs_the_best_is_named(ask):
    asked = (*AT_END, "--batch-sizes", "16,64,256", "--budget", "30s")

    done = ask("prints.py at_end", "sweep", *asked)

    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    ends = {row[0]: row[2] for row in rows if row[:1] in (["16"], ["64"], ["256"])}
    best = min(ends, key=lambda size: float(ends[size]))
    assert best != "16"  # the first one
    assert done.said.startswith("Eval_loss ended best with ")
    assert f" at batch size {best}," in done.said.partition(".db")[0]


# ---- what a command does not say is asked for once, in one line to paste


@pytest.mark.slow
def test_one_look_finds_all_that_is_missing_and_what_the_script_shows(ask):
    takes = (*BS[:4], "--epochs", "{epochs}")

    done = ask("evaluates_each_epoch.py", "advise", "--budget", "30s", takes=takes)

    assert done.code == 2
    said, _, paste = done.err.partition(" To paste")
    assert "it printed loss, test_grade" in said
    options = ("--metric", "--better", "--learning-rate", "--epochs")
    assert [option for option in options if f"{option} (" in said] == list(options)
    assert "--batch-size (" not in said  # its code has it
    assert "--examples (" not in said  # its epochs are counted
    assert "with your own value instead of lower, 0.001: batchlab advise --budget 30s" in paste
    assert "--metric test_grade --better lower --learning-rate 0.001 --epochs 3" in paste
    assert paste.rstrip().endswith("--lr '{learning_rate}' --epochs '{epochs}'")


@pytest.mark.slow
def test_a_metric_that_is_not_printed_is_told_with_what_else_is_missing(ask):
    asked = ("--metric", "val_acc", "--budget", "30s")

    done = ask("evaluates_each_epoch.py", "sweep", *asked, takes=BS[:4])

    assert done.code == 2
    assert done.err.startswith("error: sweep needs --metric (the validation metric that counts; ")
    assert "--learning-rate (" in done.err
    assert "--metric test_grade --better lower" in done.err
    assert "val_acc" not in done.err


def test_the_look_is_at_the_first_batch_size_that_is_asked_for(do):
    source = "import sys; assert sys.argv[1] == '8'; print('epoch 1 val_loss 0.5')"
    command = ("--", sys.executable, "-c", source, "{batch_size}")

    done = do("sweep", "--batch-sizes", "8,16", "--budget", "30s", *command)

    assert done.code == 2
    assert "it printed val_loss" in done.err


@pytest.mark.slow
def test_what_the_script_itself_demands_is_in_the_same_message(ask):
    takes = ("-b", "{batch_size}", "-lr", "{learning_rate}")

    refused = ask("needs_net.py", "advise", "--budget", "30s", takes=takes)
    done = ask("needs_net.py", "advise", "--budget", "30s", takes=("-net", "vgg16", *takes))

    assert (refused.code, done.code) == (2, 2)
    for option in ("--metric (", "it needs {seed}"):
        assert option in refused.err
        assert option in done.err
    assert "error: the following arguments are required: -net" in refused.err
    assert "it printed Loss, Average loss, Accuracy" in done.err
    assert "--metric Accuracy --" in done.err


@pytest.mark.slow
def test_a_script_that_wants_a_terminal_is_told_so(ask):
    asked = "--metric acc --examples 6000 --batch-sizes 32,128 --learning-rates 0.02 --budget 25s"

    takes = ("{batch_size}", "{learning_rate}")
    done = ask("wants_terminal.py", "sweep", *asked.split(), takes=takes)

    assert done.code == 1
    assert "which it does not have here (stty: 'standard input': " in done.err
    assert "Its last line: IndexError" in done.err


# ---- answers


@pytest.mark.nightly
def test_a_target_met_within_the_first_epoch_has_its_whole_interval(ask):
    asked = "--metric val/acc --examples 6000 --target val/acc=72 --batch-sizes 64,128"

    done = ask("once_an_epoch.py", "advise", *asked.split(), "--budget", "20s", "--json")

    document = json.loads(done.out)
    met = [trial["steps_to_target"] for trial in document["trials"] if trial["steps_to_target"]]
    assert min(met) < 6000 / 128 / 2 + 1
    for candidate in document["candidates"]:
        steps, epoch = candidate["steps_to_target"], 6000 / candidate["batch_size"]
        if steps["low"] is not None:  # of a single run nothing is known of how far it is off
            assert steps["low"] < epoch / 2
            assert steps["high"] > epoch


@pytest.mark.nightly
def test_house_prices_at_a_rate_far_too_small_are_said_to_be_hardly_learned(ask):
    asked = "--metric val_mse --examples 600 --batch-size 10 --learning-rate 0.005 --budget 20s"

    done = ask("prices.py", "advise", *asked.split(), "--batch-sizes", "10,64")

    named, why = done.out.split(".\n", 1)
    assert not named.startswith("Stay")
    assert why.startswith("Your configuration hardly learns: after ")
