"""Scripts: one evaluation per epoch, and what cannot go on begins anew."""

from tests.reference.simulated_advice import EPOCHS, OWN, ScriptEngine, study


def test_a_pilot_that_cannot_go_on_is_trained_in_one_piece():
    """After a first part, by which it is known what a run costs."""
    _, engine = study("alike", trainings=4.0, kind=ScriptEngine)

    (own,) = {asked.trial for asked in engine.asked[:2]}
    assert (own.batch_size, own.learning_rate, own.seed) == (*OWN, 0)
    pilot = [asked.last_step for asked in engine.asked_of(own)]
    assert len(pilot) == 2
    assert pilot[1] == own.plan.steps_in(EPOCHS)


def test_a_run_that_cannot_go_on_is_followed_once_and_then_trained_to_its_end():
    advice, engine = study("cliff_beside_the_best_rate", trainings=14.0, kind=ScriptEngine)

    followed = [asked.trial for asked in engine.asked if asked.length.until is not None]
    assert len(followed) == len(set(followed))
    assert advice.recommendation is not None
