from __future__ import annotations

import pytest

from batchlab.cli.values import BUDGET, batch_sizes, learning_rates, n_bytes, setting, target
from batchlab.errors import UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("64", (64,)),
        ("64,256,full", (64, 256, "full")),
        (" 1 , full ", (1, "full")),
    ],
)
def test_batch_sizes_are_whole_numbers_and_the_word_full(
    text: str, found: tuple[int | str, ...]
) -> None:
    assert batch_sizes(text) == found


@pytest.mark.parametrize("part", ["0", "-64", "6.5", "1e3", "all", "", "64 256", "9" * 5000])
def test_another_batch_size_is_refused_with_what_is_possible(part: str) -> None:
    with pytest.raises(UsageError) as caught:
        batch_sizes(f"32,{part}")

    assert f"batch size {part!r}: expected whole numbers of at least 1" in str(caught.value)


@pytest.mark.parametrize(("text", "found"), [("0.01", (0.01,)), ("1e-3, 2", (0.001, 2.0))])
def test_learning_rates_are_numbers(text: str, found: tuple[float, ...]) -> None:
    assert learning_rates(text) == found


@pytest.mark.parametrize("part", ["0", "-0.1", "nan", "inf", "-inf", "1e999", "fast", ""])
def test_another_learning_rate_is_refused_with_what_is_possible(part: str) -> None:
    with pytest.raises(UsageError) as caught:
        learning_rates(f"0.1,{part}")

    assert f"learning rate {part!r}: expected finite numbers above 0" in str(caught.value)


def test_a_target_is_a_metric_and_a_level() -> None:
    assert target("accuracy=0.97") == ("accuracy", 0.97)


@pytest.mark.parametrize("text", ["accuracy", "=0.9", "accuracy=", "accuracy=nan", "a=b=1"])
def test_another_target_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected METRIC=VALUE, such as accuracy=0\.97"):
        target(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("width=64", ("width", "64")), ("a = b=c ", ("a", "b=c")), ("a=", ("a", ""))],
)
def test_a_setting_is_a_name_and_a_text(text: str, found: tuple[str, str]) -> None:
    assert setting(text) == found


@pytest.mark.parametrize("text", ["width", "=64"])
def test_another_setting_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(UsageError, match="expected KEY=VALUE, such as width=1024"):
        setting(text)


def test_a_default_that_is_no_text_passes_as_it_is() -> None:
    assert BUDGET.convert(5.0, None, None) == 5.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2GiB", 2 * 2**30),
        ("2gb", 2 * 10**9),
        ("1.5 GB", 1_500_000_000),
        ("500MB", 500_000_000),
        ("64KiB", 65536),
        ("1TiB", 2**40),
        ("4096B", 4096),
    ],
)
def test_a_memory_limit_is_a_number_with_its_unit(text: str, found: int) -> None:
    assert n_bytes(text) == found


@pytest.mark.parametrize("text", ["", "2", "2G", "GiB", "-2GiB", "0GB", "0.5B", "2 PB", "9" * 400])
def test_another_memory_limit_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size above 0, such as 2GiB"):
        n_bytes(text)
