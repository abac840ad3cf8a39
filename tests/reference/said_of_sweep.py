"""What a made-up sweep says: its claims, sentences, leaders and final metrics."""

import numpy as np
from tests.reference.made_up import made_up_curves

from batchlab.belief.evidence import Evidence
from batchlab.report.sayings import claim_sentences
from batchlab.report.sweep_answer import sentences

SIZES = (64, 256, 1024)


def by_size(levels, *, scatter=0.0005, rate=1.0):
    """Curves towards the (train, validation, test) levels of a batch size, each seed a bit off."""

    def curves(batch_size, learning_rate, seed):
        offset = np.random.default_rng([batch_size, seed]).normal(0.0, scatter, 3)
        train, validation, test = np.array(levels[batch_size]) + offset
        return made_up_curves(train=train, validation=validation, test=test, rate=rate)

    return curves


WORSE = {64: (0.99, 0.97, 0.97), 256: (0.99, 0.96, 0.96), 1024: (0.99, 0.95, 0.95)}
BETTER = {64: WORSE[1024], 256: WORSE[256], 1024: WORSE[64]}
LEVEL = dict.fromkeys(SIZES, (0.99, 0.97, 0.97))


def claims(study):
    return {found.topic: found.verdict for found in claim_sentences(Evidence.of(study))}


def texts(study, topic):
    said = (*sentences(study), *claim_sentences(Evidence.of(study)))
    return [found.text for found in said if found.topic == topic]


def text(study, topic):
    (found,) = texts(study, topic)
    return found
