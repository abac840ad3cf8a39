"""`batchlab.fit`: points are read and fitted; what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab import fit
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


def test_a_file_made_from_a_known_law_gives_it_back(tmp_path: Path) -> None:
    samples = [{"batch_size": b, "samples_to_target": b * law(b)} for b in SIZES]

    for found in (fit(written(tmp_path / "points.csv", rows())), fit(samples)):
        assert found.s_min.estimate == pytest.approx(1000, rel=1e-6)
        assert found.b_crit.estimate == pytest.approx(250, rel=1e-6)


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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (  # a quote left open spans several lines
            b'batch_size,steps_to_target\n8,"100\n16,70\n32,50\n',
            "steps_to_target=100 16,70 32,50; expected a number from",
        ),
        (
            b"batch_size,steps_to_target,batch_size\n8,100,9\n16,70,17\n32,50,33\n",
            "has two columns with one name",
        ),
        (b"\xff\xfe\x00\x01", "cannot be read"),
        (b"batch_size,steps_to_target\n1\n", "line 2: it has not as many fields"),
        (b"batch_size,steps\n1,2\n", "no column steps_to_target or samples_to_target"),
    ],
)
def test_a_file_that_is_no_table_of_points_is_refused(
    content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / "points.csv").write_bytes(content)

    with pytest.raises(FitError, match=told):
        fit(tmp_path / "points.csv")


@pytest.mark.parametrize(
    ("steps", "after", "told"),
    [
        (None, None, r"row 6: a run that never reached .* after_steps"),
        (5, 9, r"row 6: .* within 5 steps and not after 9"),
    ],
)
def test_a_run_that_says_too_little_or_too_much_is_refused(
    steps: int | None, after: int | None, told: str
) -> None:
    with pytest.raises(FitError, match=told):
        fit([*rows(), {"batch_size": 8, "steps_to_target": steps, "after_steps": after}])
