"""Samples, their order and the rows they are packed into. No torch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontdesk.errors import BadInput
from frontdesk.training.packing import Encoded, Sample, encode, pack, plan


def letters(text: str) -> list[int]:
    return [ord(c) for c in text]


def encoded(*texts: tuple[str, str]) -> list[Encoded]:
    return encode([Sample(pieces=((q, False), (a, True))) for q, a in texts], letters, length=1000)


def test_pieces_are_tokenised_apart_and_only_answers_are_learnt() -> None:
    (one,) = encoded(("What?", "This."))
    assert "".join(map(chr, one.tokens)) == "What?This."
    assert [chr(t) for t, learnt in zip(one.tokens, one.learnt, strict=True) if learnt] == list("This.")


def test_a_sample_that_is_too_long_or_teaches_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="sample 2 has 11 tokens, more than the 10"):
        encode([Sample(pieces=(("a", False), ("b", True))), Sample(pieces=(("a", False), ("b" * 10, True)))], letters, length=10)
    with pytest.raises(BadInput, match="nothing is learnt from sample 1"):
        encode([Sample(pieces=(("a question", False),))], letters, length=100)


def test_the_common_beginning_stands_once_per_row() -> None:
    samples = encoded(*((f"You are a helpful bot. Question {n}?", f"Answer {n}") for n in range(4)))
    (row,) = pack(samples, row=400)
    assert row.shared == len("You are a helpful bot. Question ")
    assert len(row.tokens) == row.shared + sum(len(s.tokens) - row.shared for s in samples)


@given(
    st.lists(st.tuples(st.text("abc ", min_size=1, max_size=30), st.text("xyz", min_size=1, max_size=20)), min_size=1, max_size=12),
    st.integers(10, 80),
)
def test_packing_loses_and_doubles_nothing(texts: list[tuple[str, str]], width: int) -> None:
    samples = encoded(*((f"system prompt: {q}", a) for q, a in texts))
    back = []
    for row in pack(samples, row=width):
        for start, end in row.parts:
            tokens = row.tokens[: row.shared] + row.tokens[start:end]
            back.append((tokens, (False,) * row.shared + row.learnt[start:end]))
        assert len(row.tokens) <= max(width, max(len(s.tokens) for s in samples))
    assert sorted(back) == sorted((s.tokens, s.learnt) for s in samples)


def test_every_epoch_sees_each_sample_once_in_another_order() -> None:
    samples = encoded(*((f"q{n}", "a") for n in range(20)))
    orders = [[i for step in plan(samples, seed=1, epoch=e, batch=6).steps for i in step] for e in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]
    assert plan(samples, seed=1, epoch=1, batch=6) == plan(samples, seed=1, epoch=1, batch=6)


def test_wordings_of_a_fact_take_turns_over_the_epochs() -> None:
    samples = encode([Sample(pieces=((f"q{n}", False), ("a", True)), group=f"g{n // 4}") for n in range(12)], letters, length=99)
    seen = [sorted(i for step in plan(samples, seed=0, epoch=e, batch=5, per_group=1).steps for i in step) for e in range(1, 5)]
    assert all(sorted(i // 4 for i in epoch) == [0, 1, 2] for epoch in seen)
    assert sorted(i for epoch in seen for i in epoch) == list(range(12))


def test_anchors_are_spread_over_the_steps_and_lie_in_rows_of_their_own() -> None:
    taught = [Sample(pieces=((f"You are a helpful bot. Question {n}?", False), ("Answer", True)), group=f"g{n}") for n in range(6)]
    anchors = [Sample(pieces=((f"plain words {n}", False), (" go on", True)), group=f"a{n}", anchor=True) for n in range(2)]
    samples = encode([*taught, *anchors], letters, length=100)
    assert all(samples[-1].learnt)
    steps = plan(samples, seed=0, epoch=1, batch=2).steps
    assert [sum(not samples[i].anchor for i in step) for step in steps] == [2, 2, 2]
    assert sorted(sum(samples[i].anchor for i in step) for step in steps) == [0, 1, 1]
    rows = pack(samples, row=500)
    assert [(row.anchor, len(row.parts)) for row in rows] == [(False, 6), (True, 2)]
    assert rows[0].shared == len("You are a helpful bot. Question ")
