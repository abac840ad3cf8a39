"""`batchlab.fit`: which runs count, and which points are refused."""

from pathlib import Path
from typing import Any

import pytest

from batchlab import fit
from batchlab.errors import BatchlabError

SIZES = (16, 64, 256, 1024, 4096)
Rows = list[dict[str, Any]]


def law(batch_size: float) -> float:
    return 1000 * (1 + 250 / batch_size)


def rows(**columns: object) -> Rows:
    return [{"batch_size": b, "steps_to_target": law(b)} | columns for b in SIZES]


def runs(*each: tuple[float, float | None]) -> Rows:
    """At every batch size a run at each rate, in so many times the steps of the law, or never."""
    return [
        {"batch_size": b, "learning_rate": rate, "steps_to_target": times and times * law(b)}
        | {"after_steps": None if times else 9 * law(b)}
        for b in SIZES
        for rate, times in each
    ]


def written(path: Path, table: Rows) -> Path:
    texts = [["" if each is None else str(each) for each in row.values()] for row in table]
    path.write_text("\n".join(map(",".join, [list(table[0]), *texts, []])))
    return path


@pytest.mark.parametrize(
    "table",
    [
        rows(),
        [{"batch_size": b, "samples_to_target": b * law(b)} for b in SIZES],
        # The best mean counts and not the best run; a run that never got there has none.
        runs((0.1, 0.5), (0.1, 2.5), (0.2, 1.0), (0.2, 1.0), (0.4, 3.0), (0.4, 3.0)),
        runs((0.1, 0.5), (0.1, None), (0.2, 1.0)),
    ],
)
def test_points_made_from_a_known_law_give_it_back(table, tmp_path):
    for found in (fit(table), fit(written(tmp_path / "points.csv", table))):
        assert found.s_min.estimate == pytest.approx(1000, rel=1e-6)
        assert found.b_crit.estimate == pytest.approx(250, rel=1e-6)


def test_a_run_without_steps_counts_as_more_than_those_it_went():
    never = {"batch_size": 4096, "steps_to_target": "", "after_steps": 2000}
    told = [row | {"after_steps": 0} for row in rows()]  # 0: its first evaluation met the target

    assert fit([*told, never]).by_batch_size[-1].measured.estimate > 1.01 * law(4096)


@pytest.mark.parametrize("column", ["batch_size", "steps_to_target", "learning_rate"])
@pytest.mark.parametrize("bad", ["nan", "inf", "0", "-3", "many", "1e300", "1e-300"])
def test_a_point_that_is_no_number_above_0_is_refused_by_its_line(column, bad, tmp_path):
    table = rows(learning_rate=0.1)
    table[2][column] = bad

    with pytest.raises(BatchlabError, match=f"line 4: {column}=") as refused:
        fit(written(tmp_path / "points.csv", table))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (  # a quote left open spans several lines
            b'batch_size,steps_to_target\n8,"100\n16,70\n32,50\n',
            "steps_to_target=100 16,70 32,50; expected a number from",
        ),
        (b"\xff\xfe\x00\x01", "cannot be read"),
        (b"batch_size,steps_to_target\n1,\n", "line 2: a run that never .* after_steps"),
        (b"batch_size,steps_to_target\n1,1,000\n", "line 2: it has more fields than the header"),
        (b"batch_size,steps\n1,2\n", "no column steps_to_target or samples_to_target"),
        ({"steps_to_target": None, "after_steps": None}, r"row 6: a run that never .* after_steps"),
        ({"steps_to_target": 5, "after_steps": 9}, r"row 6: .* within 5 steps and not after 9"),
    ],
)
def test_what_is_no_table_of_points_is_refused(points, told, tmp_path):
    if isinstance(points, bytes):
        (tmp_path / "points.csv").write_bytes(points)

    with pytest.raises(BatchlabError, match=told):
        fit(
            [*rows(), {"batch_size": 8, **points}]
            if isinstance(points, dict)
            else tmp_path / "points.csv"
        )
