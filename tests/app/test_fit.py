"""`batchlab.fit`: points are read and fitted; what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab import fit
from batchlab.cli import main as cli
from batchlab.errors import FitError

SIZES = (16, 64, 256, 1024, 4096)

Rows = list[dict[str, object]]


def law(batch_size: float) -> float:
    return 1000 * (1 + 250 / batch_size)


def rows(**columns: object) -> Rows:
    return [{"batch_size": b, "steps_to_target": law(b)} | columns for b in SIZES]


def written(path: Path, table: Rows) -> Path:
    lines = [",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]
    path.write_text("\n".join(lines) + "\n")
    return path


# What comes out


def test_a_file_made_from_a_known_law_gives_it_back(tmp_path: Path) -> None:
    found = fit(written(tmp_path / "points.csv", rows()))

    assert found.s_min.estimate == pytest.approx(1000, rel=1e-6)
    assert found.b_crit.estimate == pytest.approx(250, rel=1e-6)


def test_samples_to_target_are_steps_times_batch_size() -> None:
    samples = [{"batch_size": b, "samples_to_target": b * law(b)} for b in SIZES]

    assert fit(samples).b_crit.estimate == pytest.approx(250, rel=1e-6)


def test_the_rate_with_the_best_mean_counts_and_not_the_best_run() -> None:
    table: Rows = []
    for b in SIZES:
        for rate, steps in ((0.1, (0.5, 2.5)), (0.2, (1.0, 1.0)), (0.4, (3.0, 3.0))):
            table += [
                {"batch_size": b, "learning_rate": rate, "seed": i, "steps_to_target": x * law(b)}
                for i, x in enumerate(steps)
            ]

    found = fit(table)

    assert found.s_min.estimate == pytest.approx(1000, rel=1e-6)


def test_a_rate_at_which_a_run_never_got_there_does_not_win_by_the_others() -> None:
    table = [row | {"learning_rate": 0.2, "after_steps": ""} for row in rows()]
    for b in SIZES:
        fast = {"batch_size": b, "learning_rate": 0.1, "steps_to_target": 0.5 * law(b)}
        never = {"batch_size": b, "learning_rate": 0.1, "steps_to_target": ""}
        table += [fast | {"after_steps": ""}, never | {"after_steps": 9 * law(b)}]

    assert fit(table).s_min.estimate == pytest.approx(1000, rel=1e-6)


def test_a_run_without_steps_counts_as_more_than_those_it_went() -> None:
    never = {"batch_size": 4096, "steps_to_target": "", "after_steps": 2000}
    told = [row | {"after_steps": 0} for row in rows()]  # 0: its first evaluation met the target

    found = fit([*told, never])

    assert found.by_batch_size[-1].measured.estimate > 1.01 * law(4096)


# What is refused


@pytest.mark.parametrize("column", ["batch_size", "steps_to_target", "learning_rate"])
@pytest.mark.parametrize("bad", ["nan", "inf", "0", "-3", "many", "1e300", "1e-300"])
def test_a_point_that_is_no_number_above_0_is_refused_by_its_line(
    column: str, bad: str, tmp_path: Path
) -> None:
    table = rows(learning_rate=0.1)
    table[2][column] = bad

    with pytest.raises(FitError, match=f"line 4: {column}=") as refused:
        fit(written(tmp_path / "points.csv", table))
    assert "\n" not in str(refused.value)


def test_a_value_over_several_lines_is_refused_in_one_that_says_what_is_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "points.csv"
    file.write_text('batch_size,steps_to_target\n8,"100\n16,70\n32,50\n')  # a quote left open

    code = cli._exit_code(["fit", str(file)])

    assert code == 1
    assert "steps_to_target=100 16,70 32,50; expected a number from" in capsys.readouterr().err


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("batch_size,steps_to_target,batch_size\n8,100,9\n16,70,17\n32,50,33\n")

    with pytest.raises(FitError, match="has two columns with one name"):
        fit(file)


def test_a_missing_column_is_named_with_what_can_stand_for_it() -> None:
    with pytest.raises(FitError, match="no column steps_to_target or samples_to_target"):
        fit([{"batch_size": 1, "steps": 2}])


def test_a_file_that_is_no_text_or_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(FitError, match="cannot be read"):
        fit(tmp_path / "bytes.csv")
    (tmp_path / "short.csv").write_text("batch_size,steps_to_target\n1\n")
    with pytest.raises(FitError, match="line 2: it has not as many fields"):
        fit(tmp_path / "short.csv")


def test_a_run_without_steps_that_says_nothing_else_is_refused() -> None:
    with pytest.raises(FitError, match=r"row 6: a run that never reached .* after_steps"):
        fit([*rows(), {"batch_size": 8, "steps_to_target": None}])


def test_a_target_that_was_reached_before_it_was_not_is_refused() -> None:
    with pytest.raises(FitError, match=r"row 6: .* within 5 steps and not after 9"):
        fit([*rows(), {"batch_size": 8, "steps_to_target": 5, "after_steps": 9}])
