"""`batchlab fit`: points read, grouped, fitted; what is refused, and in which words."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from batchlab.cli import main as cli
from batchlab.errors import FitError, UsageError
from batchlab.fitting.fit import PointsFit, fit
from batchlab.words.document import schema_text

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "fit.json"
SIZES = (16, 64, 256, 1024, 4096)


def law(batch_size: float, *, b_crit: float = 250) -> float:
    return 1000 * (1 + b_crit / batch_size)


def rows(**columns: object) -> list[dict[str, object]]:
    return [{"batch_size": b, "steps_to_target": law(b)} | columns for b in SIZES]


def written(path: Path, table: list[dict[str, object]]) -> Path:
    lines = [",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    def run(table: list[dict[str, object]], *options: str) -> tuple[int, str, str]:
        file = written(tmp_path / "points.csv", table)
        code = cli._exit_code(["fit", str(file), *options])
        return code, *capsys.readouterr()

    return run


# What comes out


def test_a_file_made_from_a_known_law_gives_it_back(tmp_path: Path) -> None:
    found = fit(written(tmp_path / "points.csv", rows()), reference_batch_size=256)

    (group,) = found.groups
    assert group.fit.s_min.estimate == pytest.approx(1000, rel=1e-6)
    assert group.fit.b_crit.estimate == pytest.approx(250, rel=1e-6)
    assert group.batch_at_overhead.estimate == pytest.approx(1.2 * 256 + 0.2 * 250, rel=1e-6)


def test_samples_to_target_are_steps_times_batch_size() -> None:
    samples = [{"batch_size": b, "samples_to_target": b * law(b)} for b in SIZES]

    assert fit(samples).groups[0].fit.b_crit.estimate == pytest.approx(250, rel=1e-6)


def test_numbers_decide_the_order_of_groups_and_each_has_its_own_law() -> None:
    table = [
        {"width": width, "batch_size": b, "steps_to_target": law(b, b_crit=b_crit)}
        for width, b_crit in (("100", 300), ("9", 200), ("wide", 100))
        for b in SIZES
    ]

    found = fit(table, group_by=["width"])

    assert [group.group["width"] for group in found.groups] == ["9", "100", "wide"]
    b_crits = [group.fit.b_crit.estimate for group in found.groups]
    assert b_crits == pytest.approx([200, 300, 100], rel=1e-6)


def test_across_a_column_b_crit_follows_its_power_law() -> None:
    table = [
        {"n": n, "kind": kind, "batch_size": b, "steps_to_target": law(b, b_crit=scale * n**0.5)}
        for kind, scale in (("a", 10), ("b", 20))
        for n in (100, 400, 1600)
        for b in SIZES
    ]

    found = fit(table, group_by=["kind"], across="n")

    laws = {(one.group["kind"], one.quantity): one for one in found.across or ()}
    assert laws["a", "b_crit"].exponent.estimate == pytest.approx(0.5, rel=1e-6)
    assert laws["b", "b_crit"].coefficient.estimate == pytest.approx(20, rel=1e-6)
    assert set(laws) == {(kind, q) for kind in "ab" for q in ("b_crit", "batch_at_overhead")}


def test_the_rate_with_the_best_mean_counts_and_not_the_best_run() -> None:
    table = []
    for b in SIZES:
        for rate, steps in ((0.1, (0.5, 2.5)), (0.2, (1.0, 1.0)), (0.4, (3.0, 3.0))):
            table += [
                {"batch_size": b, "learning_rate": rate, "seed": i, "steps_to_target": x * law(b)}
                for i, x in enumerate(steps)
            ]

    (group,) = fit(table).groups

    assert {row.learning_rate for row in group.batch_sizes} == {0.2}
    assert not any(row.rate_at_edge for row in group.batch_sizes)
    assert group.fit.b_crit.estimate == pytest.approx(250, rel=1e-6)


def test_a_rate_at_which_a_run_never_got_there_does_not_win_by_the_others() -> None:
    table = [row | {"learning_rate": 0.2, "after_steps": ""} for row in rows()]
    for b in SIZES:
        fast = {"batch_size": b, "learning_rate": 0.1, "steps_to_target": 0.5 * law(b)}
        never = {"batch_size": b, "learning_rate": 0.1, "steps_to_target": ""}
        table += [fast | {"after_steps": ""}, never | {"after_steps": 9 * law(b)}]

    (group,) = fit(table).groups

    assert {row.learning_rate for row in group.batch_sizes} == {0.2}
    assert all(row.rate_at_edge for row in group.batch_sizes)


def test_a_run_without_steps_counts_as_more_than_those_it_went() -> None:
    never = {"batch_size": 4096, "steps_to_target": "", "after_steps": 2000}
    told = [row | {"after_steps": ""} for row in rows()]

    (group,) = fit([*told, never]).groups

    assert group.batch_sizes[-1].n_reached == 1
    assert group.batch_sizes[-1].steps_to_target is None
    assert group.fit.log_steps([4096])[0] > math.log(law(4096)) + 0.01


def test_time_to_target_is_steps_times_the_median_step() -> None:
    table = [row | {"step_s": x} for row in rows() for x in (0.1, 0.2, 0.9)]

    first = fit(table).groups[0].batch_sizes[0]

    assert first.step_s == 0.2
    assert first.time_to_target_s == pytest.approx(0.2 * law(16))


def test_the_schema_in_the_documents_is_the_one_of_the_code() -> None:
    assert SCHEMA.read_text() == schema_text(PointsFit)


@pytest.mark.parametrize("options", [[], ["--group-by", "n"], ["--across", "n"]])
def test_the_json_document_follows_its_schema(options, command) -> None:  # type: ignore[no-untyped-def]
    table = [row | {"n": n, "learning_rate": 0.1, "seed": 0} for n in (1, 2) for row in rows()]

    code, out, err = command(table, "--json", *options)

    document = json.loads(out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert (code, err, document["command"]) == (0, "", "fit")
    group = document["groups"][0]
    assert len(group["residuals"]) == len(group["points"]) == group["n"]
    assert group["b_crit"]["estimate"] == pytest.approx(250, rel=1e-6)


def test_the_text_names_each_group_its_law_and_the_method(command) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    table = [
        {"n": n, "batch_size": b, "seed": s, "steps_to_target": law(b) * math.exp(0.05 * noise)}
        for n in (1, 2)
        for b in SIZES
        for s, noise in enumerate(rng.normal(size=2))
    ]

    code, out, _ = command(table, "--group-by", "n")

    assert code == 0
    assert out.startswith("n 1\n")
    assert "\nn 2\n" in out
    assert out.count("critical batch size B_crit: 2") == 2
    assert "least squares on log steps" in out
    assert max(map(len, out.splitlines())) <= 100


# What is refused


@pytest.mark.parametrize("column", ["batch_size", "steps_to_target", "learning_rate", "step_s"])
@pytest.mark.parametrize("bad", ["nan", "inf", "0", "-3", "many", "1e300", "1e-300"])
def test_a_point_that_is_no_number_above_0_is_refused_by_its_line(
    column: str,
    bad: str,
    command,  # type: ignore[no-untyped-def]
) -> None:
    table = rows(learning_rate=0.1, step_s=0.2)
    table[2][column] = bad

    code, out, err = command(table)

    assert (code, out) == (1, "")
    assert f"line 4: {column}=" in err
    assert len(err.splitlines()) == 1


def test_a_value_over_several_lines_is_refused_in_one_that_says_what_is_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "points.csv"
    file.write_text('batch_size,steps_to_target\n8,"100\n16,70\n32,50\n')  # a quote left open

    code = cli._exit_code(["fit", str(file)])

    assert code == 1
    assert "steps_to_target=100 16,70 32,50; expected a number above 0" in capsys.readouterr().err


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("batch_size,steps_to_target,batch_size\n8,100,9\n16,70,17\n32,50,33\n")

    with pytest.raises(FitError, match="has the column batch_size twice"):
        fit(file)


def test_too_few_batch_sizes_are_refused_with_the_groups_name(command) -> None:  # type: ignore[no-untyped-def]
    table = [row | {"kind": "big"} for row in rows()] + [
        row | {"kind": "tiny"} for row in rows()[:2]
    ]

    code, out, err = command(table, "--group-by", "kind")

    assert (code, out) == (1, "")
    assert "group kind=tiny: batch sizes at which the target was reached: 2 (16, 64)" in err


def test_missing_columns_are_named_with_those_there_are() -> None:
    with pytest.raises(FitError, match="no column batch_size; it has size, steps_to_target"):
        fit([{"size": 1, "steps_to_target": 2}])
    with pytest.raises(FitError, match="no column steps_to_target or samples_to_target"):
        fit([{"batch_size": 1, "steps": 2}])
    with pytest.raises(UsageError, match="'kind'; it has batch_size, steps_to_target"):
        fit(rows(), group_by=["kind"])


@pytest.mark.parametrize("text", ["", "batch_size,steps_to_target\n"])
def test_a_file_without_points_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text(text)

    with pytest.raises(FitError, match="holds no points"):
        fit(file)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="there is no file"):
        fit(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(FitError, match="cannot be read"):
        fit(tmp_path / "bytes.csv")
    (tmp_path / "short.csv").write_text("batch_size,steps_to_target\n1\n")
    with pytest.raises(FitError, match="line 2: it has not as many fields"):
        fit(tmp_path / "short.csv")


def test_a_run_without_steps_that_says_nothing_else_is_refused() -> None:
    with pytest.raises(FitError, match=r"row 6: no steps_to_target; .* after_steps"):
        fit([*rows(), {"batch_size": 8, "steps_to_target": None}])


def test_a_column_of_words_has_no_power_law() -> None:
    with pytest.raises(UsageError, match="use --group-by kind instead"):
        fit(rows(kind="a"), across="kind")


@pytest.mark.parametrize("overhead", ["0", "-0.1", "nan"])
def test_an_overhead_that_is_not_above_0_is_wrong_usage(overhead: str, command) -> None:  # type: ignore[no-untyped-def]
    code, _, err = command(rows(), "--overhead", overhead)

    assert code == 2
    assert "such as 0.2 for 20 %" in err
