"""The run_log: what was run is kept once, what it cost is known, what is left is what is left."""

import math

from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.run_log import RunLog


def run_log(*, n_workers=1, budget_s=10.0, kind=SimulatedEngine):
    asked = question(knee(64), budget_s=budget_s)
    engine = kind(truth=Truth(noise=0.0), step_s=knee(64), n_workers=n_workers)
    return RunLog(question=asked, engine=engine, until=asked.target)


def request(of, seed=0, steps=1000, rate=0.04, size=64):
    return of.request((size, rate), seed, steps=steps)


def test_runs_are_watched_from_where_a_tuned_batch_size_says_that_the_target_may_be_met():
    recorder = run_log()
    assert recorder.watched_from_samples(64) == 0

    recorder.tuned_steps |= {64: 1000.0, 256: 500.0}

    # 128,000 examples at 256 are the fewest for larger ones, 1000 steps for smaller ones.
    assert recorder.watched_from_samples(1024) == math.floor(0.55 * 128_000)
    assert recorder.watched_from_samples(256) == math.floor(0.55 * 128_000)
    assert recorder.watched_from_samples(64) == math.floor(0.55 * 64_000)
    assert recorder.watched_from_samples(8) == math.floor(0.55 * 8_000)
    recorder.run([request(recorder, size=256)], "value")
    assert recorder.engine.asked[-1].length.watched_from_samples == math.floor(0.55 * 128_000)


class DearToEvaluate(SimulatedEngine):
    """An evaluation takes as long as 20 steps, then as 30; it is not known before the first run."""

    worth = 20.0

    def __post_init__(self):
        super().__post_init__()
        self.expected = []

    def evaluation_steps(self, batch_size):
        return {0: 0.0, 1: self.worth}.get(len(self.asked), 1.5 * self.worth)

    def expected_s(self, batch_size, length):
        self.expected.append(length)
        return super().expected_s(batch_size, length)


def test_evaluations_are_twice_as_far_apart_as_they_take_once_that_is_known():
    recorder = run_log(kind=DearToEvaluate)
    recorder.run([request(recorder, seed=0)], "tune")
    recorder.run([request(recorder, seed=1)], "tune")
    recorder.run([request(recorder, seed=2, size=256)], "tune")

    intervals = [asked.length.interval_samples for asked in recorder.engine.asked]
    assert intervals == [0, 2 * 20 * 64, 2 * 20 * 64]  # in samples, the same from there on
    seldom, often = (len(recorder.records[64, 0.04, seed].evaluations) for seed in (1, 0))
    assert seldom < often
    recorder.run_s(64, 100)
    assert recorder.engine.expected[-1].interval_samples == 2 * 20 * 64
