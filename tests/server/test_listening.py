"""Where somebody speaks in a stream of sound."""

from __future__ import annotations

import numpy as np
import pytest

from frontdesk.models.speech import RATE
from frontdesk.server.listening import FRAME, LONGEST, Listening, Onset, Utterance


def sound(*parts: tuple[float, float]) -> bytes:
    """Noise: seconds and loudness of each part."""
    rng = np.random.default_rng(5)
    return b"".join(rng.normal(0, level, int(seconds * RATE)).clip(-32768, 32767).astype("<i2").tobytes() for seconds, level in parts)


@pytest.mark.parametrize("size", [2, 320, 640, 1000, 16_000])
def test_an_utterance_is_found_whatever_the_pieces_are(size: int):
    listening, pcm = Listening(), sound((1.0, 10), (0.8, 4000), (1.5, 10))
    found = [event for at in range(0, len(pcm), size) for event in listening.take(pcm[at : at + size])]
    assert [type(f) for f in found] == [Onset, Utterance]
    assert 0.8 <= len(found[1].pcm) / 2 / RATE <= 2.2


def test_silence_and_hum_are_nobody():
    assert Listening().take(sound((5.0, 0), (5.0, 30))) == []


def test_a_room_that_hums_is_learnt_and_speech_above_it_is_heard():
    listening = Listening()
    listening.take(sound((6.0, 250)))
    assert [type(f) for f in listening.take(sound((0.8, 5000), (1.5, 250)))] == [Onset, Utterance]


def test_a_click_is_no_word():
    assert not any(isinstance(f, Utterance) for f in Listening().take(sound((0.5, 10), (0.06, 8000), (2.0, 10))))


def test_a_short_pause_does_not_end_what_is_said():
    found = Listening().take(sound((0.5, 10), (0.6, 4000), (0.5, 10), (0.6, 4000), (1.2, 10)))
    assert [type(f) for f in found] == [Onset, Utterance]


def test_what_does_not_end_is_cut():
    found = Listening().take(sound((0.5, 10), (40.0, 4000)))
    first = next(f for f in found if isinstance(f, Utterance))
    assert len(first.pcm) // 2 <= (LONGEST + 1) * FRAME
