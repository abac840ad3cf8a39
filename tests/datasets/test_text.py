"""The embedded novel: nothing lost on the way to numbers."""

from __future__ import annotations

import gzip

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batchlab.datasets.embedded import as_ids, embedded_file, load_moby_dick


def test_the_numbers_spell_the_novel() -> None:
    with embedded_file("moby_dick.txt.gz") as path:
        novel = gzip.decompress(path.read_bytes()).decode("utf-8")

    text = load_moby_dick()

    assert "".join(map(text.vocabulary.__getitem__, text.ids.tolist())) == novel
    assert novel.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.")


def test_the_vocabulary_is_sorted_and_without_repeats() -> None:
    text = load_moby_dick()

    assert list(text.vocabulary) == sorted(set(text.vocabulary))
    assert text.ids.dtype == np.uint8
    assert sorted(set(text.ids.tolist())) == list(range(len(text.vocabulary)))


@given(st.text(alphabet="aZ0 \n—é\U0001f40b", min_size=1))
def test_any_text_is_spelled_by_its_numbers(text: str) -> None:
    numbered = as_ids(text)

    assert "".join(numbered.vocabulary[i] for i in numbered.ids) == text
    assert numbered.vocabulary == "".join(sorted(set(text)))
