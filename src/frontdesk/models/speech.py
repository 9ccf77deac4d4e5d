"""Speech: sound to text and text to sound, at an OpenAI-compatible `/v1/audio` endpoint or, for demonstrations, on this machine.

`offline:` hears with pocketsphinx (the `voice` extra) and speaks with espeak-ng, each in a process of its own: one recognises while the
server goes on, the other is under a licence that must not be linked. It hears little beyond the words it was told to expect.
Refuses to guess which of the two is meant, and to pass on sound that is no WAV as if it were.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import multiprocessing
import shutil
import struct
import tempfile
import wave
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from frontdesk.errors import BadInput, ModelMissing, ModelUnavailable
from frontdesk.models.expecting import bigrams, words_in
from frontdesk.settings import Settings

RATE = 16_000
"""Samples a second of what is heard: 16 bits, one channel, little-endian."""
SECONDS = 60.0
"""How long one step may take."""
OFFLINE = "offline:"
ENDINGS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/webm": "webm",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/flac": "flac",
}
"""Forms of sound that may be sent, by media type."""


class Speech(Protocol):
    """Hears and says. Methods raise ModelUnavailable, and BadInput for sound that is not in a form it knows."""

    async def hear(self, sound: bytes, form: str, *, expecting: Sequence[str] = ()) -> str:
        """What is said in a sound of that media type; empty for nothing. `expecting`: sentences that are likely, as a hint."""
        ...

    async def say(self, text: str, language: str) -> bytes:
        """A WAV of the text."""
        ...


class Voice:
    """The speech that the settings name, made when it is first needed and kept."""

    def __init__(self) -> None:
        self._made: tuple[Settings, Speech | None] | None = None
        self._stack = contextlib.AsyncExitStack()

    async def of(self, settings: Settings) -> Speech | None:
        """None when the settings name nothing. Raises ModelMissing."""
        if self._made is None or self._made[0] != settings:
            await self.close()
            self._made = settings, await self._make(settings)
        return self._made[1]

    async def close(self) -> None:
        """Ends what was made."""
        self._made = None
        await self._stack.aclose()

    async def _make(self, settings: Settings) -> Speech | None:
        if not settings.audio_url:
            return None
        if settings.audio_url == OFFLINE:
            offline = Offline()
            self._stack.callback(offline.close)
            return offline
        headers = {"Authorization": f"Bearer {settings.audio_key}"} if settings.audio_key else {}
        return AudioEndpoint(await self._stack.enter_async_context(httpx.AsyncClient(timeout=SECONDS, headers=headers)), settings)


@dataclass(frozen=True)
class AudioEndpoint:
    """An OpenAI-compatible `/v1/audio`. Takes every form in ENDINGS."""

    http: httpx.AsyncClient
    settings: Settings

    async def hear(self, sound: bytes, form: str, *, expecting: Sequence[str] = ()) -> str:
        """See Speech."""
        files = {"file": (f"message.{ENDINGS[form]}", sound, form)}
        answer = await self._post("transcriptions", files=files, data={"model": self.settings.audio_hears})
        try:
            return str(answer.json()["text"]).strip()
        except (ValueError, KeyError, TypeError) as why:
            raise ModelUnavailable("the audio endpoint answered without a text: check FRONTDESK_AUDIO_URL") from why

    async def say(self, text: str, language: str) -> bytes:
        """See Speech. The voice is the setting's, whatever the language."""
        wanted = {
            "model": self.settings.audio_speaks,
            "input": text,
            "voice": self.settings.audio_voice,
            "response_format": "wav",
        }
        return (await self._post("speech", json=wanted)).content

    async def _post(self, what: str, **more: Any) -> httpx.Response:
        try:
            answer = await self.http.post(f"{self.settings.audio_url.rstrip('/')}/audio/{what}", **more)
            answer.raise_for_status()
        except httpx.HTTPError as why:
            raise ModelUnavailable("the audio endpoint did not answer: check that FRONTDESK_AUDIO_URL is up and knows the models") from why
        return answer


SHORTEST, FAINTEST = 0.1, 100
"""Seconds below which a recording holds no word, and the loudest sample below which it is silence (of 32,767)."""


class Offline:
    """pocketsphinx and espeak-ng on this machine. Hears English WAV only; speaks whatever espeak-ng has a voice for."""

    def __init__(self) -> None:
        """Raises ModelMissing for a part that is not installed."""
        self._program = shutil.which("espeak-ng") or ""
        if not self._program:
            raise ModelMissing("there is no espeak-ng here: install it (apt install espeak-ng), or name an endpoint in FRONTDESK_AUDIO_URL")
        if find_spec("pocketsphinx") is None:
            raise ModelMissing("pocketsphinx is not installed: pip install 'frontdesk[voice]', or name an endpoint in FRONTDESK_AUDIO_URL")
        self._pool: ProcessPoolExecutor | None = None

    async def hear(self, sound: bytes, form: str, *, expecting: Sequence[str] = ()) -> str:
        """See Speech."""
        if ENDINGS.get(form) != "wav":
            raise BadInput("Without an audio endpoint only WAV is understood: send audio/wav.")
        samples = await asyncio.to_thread(samples_of, sound)
        if len(samples) < RATE * SHORTEST or int(np.abs(samples.astype(np.int32)).max()) < FAINTEST:
            return ""  # the recogniser would hear words in it
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            work = partial(_recognise, samples.tobytes(), tuple(expecting))
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._pool, work), SECONDS)
        except (BrokenExecutor, RuntimeError, IndexError, TimeoutError) as why:
            self.close()
            raise ModelUnavailable("the recogniser ended or took too long: say it again") from why

    async def say(self, text: str, language: str) -> bytes:
        """See Speech."""
        voice = "en-us" if language in ("", "en") else language
        process = await asyncio.create_subprocess_exec(
            self._program, "--stdin", "--stdout", "-v", voice, "-s", "150",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            sound, _ = await asyncio.wait_for(process.communicate(text.encode()), SECONDS)
        except TimeoutError as why:
            process.kill()
            raise ModelUnavailable("espeak-ng took too long") from why
        if process.returncode or not sound:
            raise ModelUnavailable(f"espeak-ng said nothing: has it a voice for {voice!r}?")
        return sound

    def close(self) -> None:
        """Ends the recogniser; it starts again when it is needed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def samples_of(sound: bytes) -> NDArray[np.int16]:
    """The samples of a WAV (16 bits, any rate and number of channels) at RATE, one channel. Raises BadInput."""
    try:
        with wave.open(io.BytesIO(whole(sound))) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2") if width == 2 else None
    except (wave.Error, EOFError, ValueError) as why:
        raise BadInput("This is no WAV that can be read: send 16-bit PCM.") from why
    if raw is None or not 4000 <= rate <= 192_000:
        raise BadInput("Send WAV as 16-bit PCM, 4 to 192 kHz.")
    mixed = raw[: len(raw) // channels * channels].reshape(-1, channels).mean(axis=1)
    if rate == RATE or not len(mixed):
        return np.asarray(mixed, np.int16)
    from scipy.signal import resample_poly  # half a second to load, and few recordings need it

    return np.asarray(np.clip(resample_poly(mixed, RATE, rate), -32768, 32767), np.int16)


def wav_of(pcm: bytes, rate: int = RATE) -> bytes:
    """A WAV around samples of 16 bits, one channel."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


def whole(sound: bytes) -> bytes:
    """A WAV with true sizes in its heads: what was written as a stream claims to be endless. Other sound as it is."""
    if sound[:4] != b"RIFF" or sound[8:12] != b"WAVE":
        return sound
    at = 12
    while at + 8 <= len(sound) and sound[at : at + 4] != b"data":
        at += 8 + int.from_bytes(sound[at + 4 : at + 8], "little")
    if at + 8 > len(sound):
        return sound
    size = min(int.from_bytes(sound[at + 4 : at + 8], "little"), len(sound) - at - 8)
    return b"".join(
        (b"RIFF", struct.pack("<I", at + size), sound[8 : at + 4], struct.pack("<I", size), sound[at + 8 : at + 8 + size])
    )  # fmt: skip


def seconds_of(sound: bytes) -> float:
    """How long a WAV lasts; 0 for what cannot be told."""
    try:
        with wave.open(io.BytesIO(whole(sound))) as file:
            return float(file.getnframes() / file.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return 0.0


# --- in the recogniser's process ---


def _recognise(pcm: bytes, expecting: tuple[str, ...]) -> str:
    decoder = _decoder(expecting)
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:  # a decoder that is left inside an utterance hears nothing any more
        decoder.end_utt()
    found = decoder.hyp()
    return str(found.hypstr).strip() if found is not None else ""


@lru_cache(maxsize=4)
def _decoder(expecting: tuple[str, ...]) -> Any:
    from pocketsphinx import Decoder, get_model_path

    given = {"samprate": RATE, "loglevel": "FATAL"}
    lines = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8").splitlines()
    pronounced = [(line.split(None, 1)[0].split("(")[0], line) for line in lines if line.strip()]
    wanted = {word for sentence in expecting for word in words_in(sentence)}
    model = bigrams(expecting, {word for word, _ in pronounced})
    if not model:
        return Decoder(**given)
    with tempfile.TemporaryDirectory(prefix="frontdesk-speech-") as folder:
        expected, dictionary = Path(folder) / "expected.arpa", Path(folder) / "expected.dict"
        expected.write_text(model, "utf-8")
        # Only the words of the model: to match all others with a model that lacks them takes the recogniser many seconds.
        dictionary.write_text("".join(f"{line}\n" for word, line in pronounced if word in wanted), "utf-8")
        return Decoder(lm=str(expected), dict=str(dictionary), **given)
