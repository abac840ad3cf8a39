"""Sequences of unequal lengths, padded to a batch of dicts; the loss is a mean over tokens.

    batchlab advise examples/tokens.py:workload --budget 60s
    batchlab sweep examples/tokens.py:workload --batch-sizes 8,32,128 \
        --learning-rates 0.003,0.01 --epochs 1

Examples are dicts, as those of Hugging Face are; there `collate` is a DataCollator.
"""

from itertools import pairwise

import torch
from torch import nn

import batchlab
from batchlab.datasets import load_moby_dick


def padded(examples):
    def together(key, padding):
        parts = [example[key] for example in examples]
        return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=padding)

    return {"input_ids": together("input_ids", 0), "labels": together("labels", -100)}


class NextLetter(nn.Module):
    def __init__(self, n_letters, width=32):
        super().__init__()
        self.embed = nn.Embedding(n_letters, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.score = nn.Linear(width, n_letters)

    def forward(self, input_ids):
        return self.score(self.gru(self.embed(input_ids))[0])


def loss(model, batch):  # of scores (sentences, classes, letters) and labels (sentences, letters)
    scores = model(batch["input_ids"]).transpose(1, 2)
    return nn.functional.cross_entropy(scores, batch["labels"])  # leaves out -100


def workload(*, most=40):
    ids, vocabulary = load_moby_dick()
    stops = (ids == vocabulary.index(".")).nonzero()[0][:2000]
    parts = [torch.from_numpy(ids[a + 2 : b][:most]).long() for a, b in pairwise(stops)]
    data = [{"input_ids": s[:-1], "labels": s[1:]} for s in parts if len(s) > 9]
    return batchlab.Workload(
        name="letters",
        model=lambda: NextLetter(len(vocabulary)),
        train=data[:800],
        validation=data[800:1000],
        collate=padded,
        loss=loss,
        weight=lambda batch: int((batch["labels"] != -100).sum()),  # letters, not sentences
        optimizer=lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate),
        batch_size=16,
        learning_rate=0.003,
        epochs=3,
    )
