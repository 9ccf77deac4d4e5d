"""Tenant folders on disk, a reader child for the session, and an embedder that counts what it embeds."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.knowledge.parsing import Parser
from frontdesk.models.protocols import Vectors
from frontdesk.models.scripted import HashEmbedder


class CountingEmbedder:
    """A HashEmbedder that remembers every text it was given."""

    def __init__(self, dimensions: int = 384, name: str = "counting") -> None:
        self._inner = HashEmbedder(dimensions)
        self.name = name
        self.dimensions = dimensions
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts.extend(texts)
        return await self._inner.embed(texts)


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture(scope="session")
async def parser() -> AsyncIterator[Parser]:
    async with Parser() as shared:
        yield shared


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def writer(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_bytes(content)
        return path

    return writer


@pytest.fixture
def shop(tmp_path: Path, tenant: TenantId) -> Tenant:
    """A tenant of its own, with an empty folder."""
    (tmp_path / "knowledge").mkdir()
    return Tenant(id=tenant, name="Shop", folder=tmp_path)
