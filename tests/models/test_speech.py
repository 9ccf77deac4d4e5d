"""Sound and text: WAV of any kind as samples, the language model of what is expected, and the offline engines where they are installed."""

from __future__ import annotations

import io
import shutil
import wave
from importlib.util import find_spec

import numpy as np
import pytest

from frontdesk.errors import BadInput, ModelMissing
from frontdesk.models.expecting import bigrams, words_in
from frontdesk.models.speech import RATE, Offline, Voice, samples_of, seconds_of, wav_of, whole
from frontdesk.settings import Settings

offline = pytest.mark.skipif(
    not shutil.which("espeak-ng") or find_spec("pocketsphinx") is None,
    reason="needs espeak-ng and the `voice` extra (pocketsphinx): speech without an endpoint is not tested here",
)


def recording(seconds: float = 0.5, *, rate: int = RATE, channels: int = 1, width: int = 2) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(int(seconds * rate) * channels * width))
    return out.getvalue()


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1), (48_000, 1)])
def test_samples_come_at_one_rate(rate: int, channels: int):
    assert abs(len(samples_of(recording(0.5, rate=rate, channels=channels))) - RATE // 2) <= 2


@pytest.mark.parametrize(
    "sound", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"no sound", recording(width=1), recording(width=4), recording()[:30]]
)
def test_what_is_no_wav_of_16_bits_is_refused(sound: bytes):
    with pytest.raises(BadInput):
        samples_of(sound)


def test_a_wav_that_claims_to_be_endless_gets_true_sizes():
    sound = wav_of(b"\1\0" * RATE)
    streamed = sound[:4] + b"\xff\xff\xff\x7f" + sound[8:40] + b"\xff\xff\xff\x7f" + sound[44:]
    assert whole(streamed) == sound
    assert seconds_of(streamed) == pytest.approx(1.0)


def test_a_model_of_what_is_expected_shares_one_over_what_may_follow():
    text = bigrams(["Where is my order?", "Where is it?", "zzqx"], {"where", "is", "my", "order", "it"})
    follows = {
        line.split()[2]: 10 ** float(line.split()[0]) for line in text.splitlines() if line.count(" ") == 2 and " is " in f" {line} "
    }
    assert {"my", "it"} <= set(follows)
    assert (
        sum(
            10 ** float(line.split()[0])
            for line in text.splitlines()
            if line.split()[1:2] == ["is"] and len(line.split()) == 3 and line.split()[2] != "is"
        )
        < 1
    )
    assert "zzqx" not in text


def test_nothing_expected_is_no_model():
    assert bigrams(["zzqx"], {"where"}) == ""


async def test_settings_that_name_nothing_have_no_speech():
    voice = Voice()
    assert await voice.of(Settings()) is None
    await voice.close()


@pytest.mark.skipif(bool(shutil.which("espeak-ng")) and find_spec("pocketsphinx") is not None, reason="both are installed here")
def test_offline_speech_says_what_is_missing():
    with pytest.raises(ModelMissing, match="install"):
        Offline()


@offline
@pytest.mark.slow
async def test_what_espeak_says_pocketsphinx_hears():
    speech = Offline()
    questions = ["What are your opening hours?", "How long does a refund take?", "Can I pay by invoice?", "Yes, please."]
    try:
        right = among = 0
        for question in questions:
            sound = whole(await speech.say(question, "en"))
            padded = wav_of(np.concatenate([np.zeros(RATE // 2, np.int16), samples_of(sound), np.zeros(RATE // 2, np.int16)]).tobytes())
            heard = await speech.hear(padded, "audio/wav", expecting=questions)
            words = words_in(question)
            right, among = right + sum(word in heard.split() for word in words), among + len(words)
        assert right / among >= 0.75, "most words; it is a demonstration"
        assert await speech.hear(wav_of(bytes(2 * RATE)), "audio/wav", expecting=questions) == ""
    finally:
        speech.close()


@offline
async def test_offline_speech_takes_wav_only():
    speech = Offline()
    with pytest.raises(BadInput, match="WAV"):
        await speech.hear(b"x", "audio/webm")


@offline
async def test_an_empty_recording_or_a_silent_one_holds_no_words_and_spoils_nothing():
    engine = Offline()
    try:
        spoken = await engine.say("Where is my order?", "en")
        for nothing in (wav_of(b""), wav_of(b"\0\0" * 10), recording(3.0)):
            assert await engine.hear(nothing, "audio/wav", expecting=["Where is my order?"]) == ""
        assert "order" in await engine.hear(spoken, "audio/wav", expecting=["Where is my order?"])
    finally:
        engine.close()
