"""A call from the chat, in a Chromium whose microphone plays a recording: what the desk heard, what it said, and how one hangs up."""

from __future__ import annotations

import asyncio
import shutil
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.server.conftest import Served
from tests.server.test_calling import LOUD, Ears, noise

from frontdesk.models.speech import OFFLINE, RATE, Offline, samples_of, wav_of, whole

from .conftest import FAQ, Browser, launched

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
RECOGNITION = """
globalThis.said = [];
globalThis.SpeechRecognition = class {
  start() { setTimeout(() => { this.onresult({ results: [[{ transcript: "Where is my order?" }]] }); this.onend(); }, 50); }
  stop() {}
};
speechSynthesis.speak = (utterance) => globalThis.said.push(utterance.text);
"""


@pytest.fixture
def calling(tmp_path: Path) -> Iterator[Callable[[bytes], Browser]]:
    """A browser whose microphone plays these samples again and again, with seconds of quiet between them."""
    opened: list[Any] = []

    def launch(pcm: bytes) -> Browser:
        file = tmp_path / "microphone.wav"
        quiet = np.random.default_rng(1).normal(0, 3, 2 * RATE).astype("<i2").tobytes()
        file.write_bytes(wav_of(quiet + pcm + quiet * 3))
        flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={file}")
        opened.append(launched(tmp_path / "profile", *flags, "--autoplay-policy=no-user-gesture-required"))
        return Browser(opened[-1])

    yield launch
    for driver in opened:
        driver.quit()


@pytest.fixture
def ears(desk: Served, monkeypatch: pytest.MonkeyPatch) -> Ears:
    made = Ears(hears=["Where is my order?"])

    async def of(_settings: Any) -> Ears:
        return made

    monkeypatch.setattr(desk.app.state.desk.voice, "of", of)
    monkeypatch.setattr(desk.office, "settings", replace(desk.office.settings, audio_url=OFFLINE))
    return made


def test_a_call_is_heard_answered_aloud_and_written_into_the_conversation(
    calling: Callable[[bytes], Browser], desk: Served, ears: Ears, shots: Path
):
    browser = calling(noise(1.2, LOUD))
    browser.size(400, 720)
    browser.visit(desk.url)
    browser.click(".speak")
    browser.until(lambda: ears.said, "the desk greets", 30)
    browser.sees("Where is my order?", ".customer", 60)
    browser.sees("arrives on Thursday", ".desk", 30)
    browser.until(lambda: any("Thursday" in said for said in ears.said), "the reply is spoken", 30)
    assert browser.driver.save_screenshot(str(shots / "call.png"))
    heard = samples_of(ears.asked[0])
    assert 1.0 <= len(heard) / RATE <= 3.0
    assert np.abs(heard).max() > 3000, "it is the recording, not silence"
    browser.click(".speak")
    browser.sees("The call has ended", ".banner", 10)
    assert browser.chat("root.querySelector('.call').hidden")


def test_without_voice_there_is_no_button(browser: Browser, desk: Served):
    browser.visit(desk.url)
    browser.sees("Larch & Loom", ".who b", 60)
    assert browser.chat("root.querySelector('.speak').hidden")


def test_the_browsers_own_speech_is_an_option_of_the_widget(browser: Browser, desk: Served):
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECOGNITION})
    browser.visit(desk.url)
    browser.js("document.querySelector('frontdesk-chat').dataset.voice = 'browser'")
    browser.chat("root.querySelector('textarea').dispatchEvent(new Event('input')) || true")
    browser.click(".speak")
    browser.sees("Where is my order?", ".customer")
    browser.sees("arrives on Thursday", ".desk", 30)
    browser.until(lambda: any("Thursday" in said for said in browser.js("return globalThis.said")), "the reply is spoken")


@pytest.mark.skipif(
    not shutil.which("espeak-ng") or find_spec("pocketsphinx") is None,
    reason="needs espeak-ng and the `voice` extra (pocketsphinx): a call without an audio endpoint is not tested here",
)
def test_a_spoken_question_is_recognised_offline(calling: Callable[[bytes], Browser], desk: Served, monkeypatch: pytest.MonkeyPatch):
    question = FAQ[1]
    spoken = samples_of(whole(asyncio.run(Offline().say(question, "en")))).tobytes()
    monkeypatch.setattr(desk.office, "settings", replace(desk.office.settings, audio_url=OFFLINE))
    browser = calling(spoken)
    browser.visit(desk.url)
    browser.click(".speak")
    browser.sees("how long does delivery take", ".customer", 120)
    browser.sees("45 days", ".desk", 60)


def test_what_espeak_writes_is_a_wav_that_a_browser_can_decode(tmp_path: Path):
    if not shutil.which("espeak-ng") or find_spec("pocketsphinx") is None:
        pytest.skip("needs espeak-ng and the `voice` extra")
    file = tmp_path / "said.wav"
    file.write_bytes(whole(asyncio.run(Offline().say("Good morning.", "en"))))
    with wave.open(str(file)) as sound:
        assert 0.3 < sound.getnframes() / sound.getframerate() < 5
