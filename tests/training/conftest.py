"""Small adapters made here, for the real base model: no training, only a change of the weights that is big enough to be heard."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from frontdesk import settings
from frontdesk.models import registry
from frontdesk.training.gguf_files import Update, base_facts, write_adapter


@pytest.fixture(scope="session")
def gguf() -> Path:
    return registry.pull("smollm2-135m-instruct", settings.load().cache)


def loud_updates(base: Path, seed: int, *, size: float = 1.5) -> list[Update]:
    """Random updates of three layers: the model speaks differently, and differently for each seed."""
    rng = np.random.default_rng(seed)
    layers = ("blk.20.ffn_down.weight", "blk.28.ffn_down.weight", "blk.29.ffn_down.weight")
    shapes = base_facts(base).shapes
    return [
        Update(
            name=name,
            a=(rng.normal(size=(4, shapes[name][1])) / shapes[name][1] ** 0.5).astype(np.float32),
            b=(rng.normal(size=(shapes[name][0], 4)) * size).astype(np.float32),
            scale=1.0,
        )
        for name in layers
    ]


@pytest.fixture(scope="session")
def adapter_file(gguf, tmp_path_factory) -> Callable[[int], Path]:
    """Writes an adapter; another one for each seed."""
    folder = tmp_path_factory.mktemp("adapters")

    def make(seed: int) -> Path:
        path = folder / f"{seed}.gguf"
        if not path.exists():
            write_adapter(path, loud_updates(gguf, seed), 4.0)
        return path

    return make


@pytest.fixture(scope="session")
def peft_folder(gguf, tmp_path_factory) -> Callable[[int], Path]:
    """A LoRA folder as PEFT writes it, with the random updates of a seed; made without torch."""
    folder = tmp_path_factory.mktemp("peft")

    def make(seed: int, **config: object) -> Path:
        out = folder / f"{seed}-{len(config)}-{'-'.join(config)}"
        if not out.exists():
            out.mkdir()
            tensors = {}
            for update in loud_updates(gguf, seed):
                stem = f"base_model.model.model.layers.{update.name.split('.')[1]}.mlp.down_proj"
                tensors |= {f"{stem}.lora_A.weight": update.a, f"{stem}.lora_B.weight": update.b}
            save_file(tensors, out / "adapter_model.safetensors")
            (out / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 4, **config}))
        return out

    return make


class LoraServer:
    """Takes adapters as vLLM does."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.status = 200
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(next(line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length")))
        body = json.loads(await reader.readexactly(length))
        assert head.startswith("POST /v1/load_lora_adapter")
        if self.status == 200:
            self.bodies.append(body)
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def lora_server() -> AsyncIterator[LoraServer]:
    it = LoraServer()
    server = await asyncio.start_server(it.answer, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield it
    server.close()
