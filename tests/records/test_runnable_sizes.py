import pytest

from batchlab.records.study import ANY_SIZE, RunnableSizes

EVEN = RunnableSizes(least=2, multiple_of=2)
ONLY_64 = RunnableSizes(least=64, multiple_of=64, most=64)


@pytest.mark.parametrize(
    ("sizes", "up_to_9"),
    [
        (ANY_SIZE, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (EVEN, [2, 4, 6, 8]),
        (RunnableSizes(least=2), [2, 3, 4, 5, 6, 7, 8, 9]),
        (RunnableSizes(least=6, multiple_of=3), [6, 9]),
        (RunnableSizes(least=4, multiple_of=4, most=4), [4]),
    ],
)
def test_a_rule_holds_the_sizes_that_it_says(sizes: RunnableSizes, up_to_9: list[int]) -> None:
    assert [size for size in range(1, 10) if sizes.holds(size)] == up_to_9
    assert {sizes.largest_up_to(n) for n in range(10)} == {0, *up_to_9}


def test_batches_reach_all_examples_but_those_that_do_not_run() -> None:
    assert ANY_SIZE.n_used(101, at_once=64) == 101
    assert EVEN.n_used(101, at_once=64) == 100
    assert RunnableSizes(least=2).n_used(129, at_once=64) == 128
    assert ONLY_64.n_used(127, at_once=64) == 64


def test_a_usual_batch_becomes_one_that_runs() -> None:
    assert EVEN.at_once(1000) == 1000
    assert RunnableSizes(least=3, multiple_of=3).at_once(1000) == 999
    assert ONLY_64.at_once(1000) == 64
    assert RunnableSizes(least=2048, multiple_of=2048).at_once(1000) == 2048
