"""Every setting of the program, read once from `FRONTDESK_*` variables and options, then passed on. Refuses what it cannot use."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontdesk.errors import BadInput

_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "frontdesk"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One row per setting; `help` is what the documentation and `--help` say."""

    data: Path = field(default=Path("data"), metadata={"help": "Folder for the embedded database, keys and run files."})
    tenants: Path = field(default=Path("examples"), metadata={"help": "Folder that holds one folder per tenant."})
    cache: Path = field(default_factory=_default_cache, metadata={"help": "Folder where fetched models are kept."})
    host: str = field(default="127.0.0.1", metadata={"help": "Address the server listens on."})
    port: int = field(default=8000, metadata={"help": "Port the server listens on."})
    database_url: str = field(default="", metadata={"help": "Any PostgreSQL with pgvector; empty: the embedded one in `data`."})
    llm_url: str = field(
        default="",
        metadata={"help": "OpenAI-compatible base URL; empty: the embedded llama.cpp. `scripted:` for tests, `none` for quotations only."},
    )
    llm_key: str = field(default="", metadata={"help": "Bearer key for `llm_url`."})
    llm_model: str = field(
        default="smollm2-135m-instruct", metadata={"help": "Model name: a registry name when embedded, else the server's own."}
    )
    llm_adapters: str = field(
        default="", metadata={"help": "Folder `data/adapters` as the server at `llm_url` sees it; empty: under the same path."}
    )
    embeddings_url: str = field(default="", metadata={"help": "OpenAI-compatible base URL for /v1/embeddings; empty: MiniLM in process."})
    embeddings_key: str = field(default="", metadata={"help": "Bearer key for `embeddings_url`."})
    embeddings_model: str = field(default="all-minilm-l6-v2", metadata={"help": "Embedding model name."})
    audio_url: str = field(
        default="",
        metadata={
            "help": "OpenAI-compatible base URL for /v1/audio; `offline:`: pocketsphinx and espeak-ng on this machine; empty: no voice."
        },
    )
    audio_key: str = field(default="", metadata={"help": "Bearer key for `audio_url`."})
    audio_hears: str = field(default="whisper-1", metadata={"help": "Model that turns speech into text."})
    audio_speaks: str = field(default="tts-1", metadata={"help": "Model that turns text into speech."})
    audio_voice: str = field(default="alloy", metadata={"help": "Voice it speaks with."})
    hub_url: str = field(default="https://huggingface.co", metadata={"help": "Model hub, or a mirror, that `models pull` fetches from."})
    hub_token: str = field(default="", metadata={"help": "Token for gated repositories on the model hub."})
    sentiment: str = field(
        default="",
        metadata={
            "help": "What hears how utterances sound; empty: the trained head; `model`: the language model; a URL: a classification server (POST /predict)."
        },
    )
    threads: int = field(default=0, metadata={"help": "Threads for everything that computes; 0: the number of cores less one, at least 1."})
    watch: bool = field(default=False, metadata={"help": "Follow the tenants folder and re-index what changes."})
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error."})
    first_token_seconds: float = field(default=4.0, metadata={"help": "Longest wait for a model's first token."})
    between_tokens_seconds: float = field(default=3.0, metadata={"help": "Longest pause between two tokens."})
    answer_seconds: float = field(default=20.0, metadata={"help": "Longest time for one model call."})
    tool_seconds: float = field(default=5.0, metadata={"help": "Longest wait for one call of a tenant's API, its retry included."})
    llm_slots: int = field(default=4, metadata={"help": "Model calls in flight; more wait in a bounded queue."})
    llm_queue: int = field(default=64, metadata={"help": "Model calls that may wait; beyond that the desk answers from quotations."})
    max_message_chars: int = field(default=4000, metadata={"help": "Longest customer message that is accepted."})
    max_body_bytes: int = field(default=262144, metadata={"help": "Largest request body, uploads of documents aside."})
    max_upload_bytes: int = field(default=20971520, metadata={"help": "Largest uploaded document."})
    history_tokens: int = field(default=800, metadata={"help": "Tokens of history that are read to understand a message."})
    rate_per_minute: int = field(default=600, metadata={"help": "Messages per key and minute; 0: no limit."})
    turn_slots: int = field(
        default=256, metadata={"help": "Turns in progress at once; beyond that callers get 429 and a time to come back."}
    )
    stream_slots: int = field(default=1024, metadata={"help": "Open event streams; beyond that callers get 429."})
    burst_seconds: float = field(
        default=0.8, metadata={"help": "Messages of one conversation that come within this time get one reply (native API)."}
    )
    panels: str = field(default="", metadata={"help": "Folder of your own panels for the console, one Python file each; empty: none."})
    public_url: str = field(default="", metadata={"help": "Address under which browsers reach this server; empty: as each request says."})
    staff_issuer: str = field(default="", metadata={"help": "OpenID Connect issuer at which the staff signs in to the console."})
    staff_client_id: str = field(default="", metadata={"help": "What `staff_issuer` knows this server as."})
    staff_client_secret: str = field(default="", metadata={"help": "The client's secret at `staff_issuer`; empty for a public client."})
    staff_members: str = field(
        default="", metadata={"help": "Who may enter that way, as `anna@acme.example=operator, *@acme.example=agent`; empty: nobody."}
    )
    influx_url: str = field(
        default="", metadata={"help": "InfluxDB 3 that the rehearsal's sink writes messages to, beside the database; empty: none."}
    )
    influx_token: str = field(default="", metadata={"help": "Token for `influx_url`."})
    influx_database: str = field(default="ConversationStore", metadata={"help": "Database at `influx_url`."})
    redis_url: str = field(
        default="", metadata={"help": "Redis (`redis://HOST:PORT/DB`) that the rehearsal's sink writes messages to; empty: none."}
    )
    conversation_hours: float = field(default=24.0, metadata={"help": "Hours without a message after which a conversation is closed."})

    @property
    def compute_threads(self) -> int:
        """Threads that model code may use; one core is left to the rest."""
        return self.threads or max(1, (os.cpu_count() or 2) - 1)

    def alone(self) -> Settings:
        """The same for a program that serves nobody meanwhile, as a rehearsal does: every core computes, unless a number was set."""
        return dataclasses.replace(self, threads=self.threads or os.cpu_count() or 1)


def load(overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment, with `overrides` (options given on the command line; None = not given) on top.

    Raises BadInput for a value of the wrong type, naming the variable.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for f in dataclasses.fields(Settings):
        name = f"FRONTDESK_{f.name.upper()}"
        if environ.get(name):  # an empty variable counts as not set, as compose files write it
            values[f.name] = _cast(name, str(f.type), environ[name])
    values.update({k: v for k, v in (overrides or {}).items() if v is not None})
    return Settings(**values)


def expand(text: str, environ: Mapping[str, str] | None = None) -> tuple[str, tuple[str, ...]]:
    """`text` with each `${VAR}` filled from the environment, and the names of variables that are not set."""
    environ = os.environ if environ is None else environ
    missing = tuple(n for n in re.findall(r"\$\{(\w+)\}", text) if n not in environ)
    return re.sub(r"\$\{(\w+)\}", lambda m: environ.get(m[1], ""), text), missing


def child_environment(**extra: str) -> dict[str, str]:
    """What a child process inherits: everything but our own `FRONTDESK_*` variables, which may hold keys, and `extra`."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("FRONTDESK_")}, **extra}


def refuse_telemetry() -> None:
    """Libraries that this process and its children load report to nobody: what a self-hosted desk does is its owner's business."""
    os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")


def _cast(name: str, kind: str, raw: str) -> Any:
    casts: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _BOOLEANS.__getitem__, "Path": Path}
    try:
        return casts.get(kind, str)(raw.lower() if kind == "bool" else raw)
    except (ValueError, KeyError):
        raise BadInput(f"{name}={raw!r} is not a valid {kind}: correct or unset it") from None
