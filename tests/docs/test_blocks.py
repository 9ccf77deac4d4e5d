"""Every block of the documentation runs, loads or at least names what exists."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from tests.docs.blocks import Block, blocks, write_files
from tests.docs.sections import ROOT, _routes, pages

from frontdesk import cli, wiring
from frontdesk.domain.tenancy import Role, TenantId
from frontdesk.knowledge.tenants import load_faq, load_tenant
from frontdesk.server.app import create_app
from frontdesk.server.serving import bind, serving
from frontdesk.settings import Settings
from frontdesk.tools.catalog import load_catalog

SHOP = TenantId("harbour-bikes")
WIDGET = (ROOT / "src/frontdesk/server/static/widget.js").read_text(encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Running:
    """The tutorial's tenant, served."""

    url: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
async def running(database_data: Path) -> AsyncIterator[Running]:
    """The tutorial's tenant behind a real server, with a stand-in for the embedding model."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-docs-") as folder:
        write_files(ROOT / "docs/tutorial.md", Path(folder))
        settings = Settings(
            data=database_data, tenants=Path(folder) / "tenants", llm_url="none", embeddings_url="scripted:", rate_per_minute=0
        )
        async with wiring.running(settings) as office:
            await office.prepare()
            keys = office.store.for_tenant(SHOP).keys
            made = {"DESK_KEY": await keys.create(Role.SERVER), "DESK_OPERATOR_KEY": await keys.create(Role.OPERATOR)}
            async with serving(create_app(office), bind("127.0.0.1", 0)) as url:
                yield Running(url, made)


@pytest.mark.parametrize("page", [p for p in pages() if any(b.page == p for b in blocks("python"))], ids=lambda p: p.name)
async def test_python_blocks_run_against_a_running_desk(page: Path, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "docs"}
    for block in [b for b in blocks("python") if b.page == page]:
        code = compile("\n" * block.line + block.text.replace("http://127.0.0.1:8000", running.url), str(block), "exec")
        await asyncio.to_thread(exec, code, names)


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_shell_blocks_name_commands_options_targets_and_paths_that_exist(block: Block) -> None:
    assert subprocess.run(["sh", "-n"], input=block.text, text=True, check=False).returncode == 0
    for words in _commands(block.text):
        while words and re.fullmatch(r"[A-Za-z_]+=.*", words[0]):
            words = words[1:]
        if not words:
            continue
        program = Path(words[0]).name
        if program == "frontdesk":
            _check_frontdesk(words[1:])
        elif program == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all("=" in w or re.search(rf"^{w}:", makefile, re.MULTILINE) for w in words[1:]), words
        elif program == "curl":
            _check_paths(words)


def _commands(text: str) -> list[list[str]]:
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in {"|", "||", "&", "&&", ";"}:
                found.append(words)
                words = []
            else:
                words.append(word)
    return [[re.sub(r"^\$\(", "", w) for w in words] for words in found if words]


def _check_frontdesk(words: list[str]) -> None:
    command: Any = typer.main.get_command(cli.app)
    words = [w.rstrip(")") for w in words]
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if words == ["--help"]:
        return
    assert not hasattr(command, "commands"), f"{words[:1]} is no command"
    options = {name: p for p in command.params for name in p.opts if p.param_type_name == "option"}
    arguments, rest = [], list(words)
    while rest:
        word = rest.pop(0).split("=")[0]
        if word == ">":
            rest = rest[1:]
        elif word.startswith("-"):
            assert word in options, f"{command.name} has no option {word}"
            if not options[word].is_flag:
                rest = rest[1:]
        else:
            arguments.append(word)
    takes = [p for p in command.params if p.param_type_name == "argument"]
    assert sum(p.required for p in takes) <= len(arguments) <= len(takes), words


def _check_paths(words: list[str]) -> None:
    served = [re.sub(r"\{[^}]+\}", "[^/]+", r.path) for r in _routes()]
    for word in words:
        if match := re.match(r"https?://[^/]+(/[^?]*)", word):
            assert any(re.fullmatch(path, match[1]) for path in served), word


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_blocks_load(block: Block) -> None:
    assert yaml.safe_load(block.text) is not None


@pytest.mark.parametrize(
    "page", [p for p in pages() if any(b.page == p and b.file.endswith("tenant.yaml") for b in blocks())], ids=lambda p: p.name
)
def test_tenant_folders_that_a_page_spells_out_are_accepted(page: Path, tmp_path: Path) -> None:
    for path in write_files(page, tmp_path):
        if path.name == "tenant.yaml":
            tenant = load_tenant(path.parent)
            load_faq(path.parent)
            load_catalog(tenant)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_blocks_load(block: Block) -> None:
    assert json.loads(block.text)


class _Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {name for name, _ in attrs if name.startswith("data-")}


@pytest.mark.parametrize("block", blocks("html", "js"), ids=str)
def test_pages_use_what_the_widget_understands(block: Block) -> None:
    reader = _Attributes()
    reader.feed(block.text if block.language == "html" else "")
    for attribute in reader.found:
        camel = re.sub(r"-(\w)", lambda m: m[1].upper(), attribute.removeprefix("data-"))
        assert f"dataset.{camel}" in WIDGET or f'"{attribute}"' in WIDGET, attribute
    for called in re.findall(r"\bfrontdesk\.(\w+)\(", block.text):
        assert re.search(rf"\b{called}\b", WIDGET), called


def test_blocks_name_no_place_of_the_writers_machine() -> None:
    assert not [str(b) for b in blocks() if re.search(r"/(?:work|root|tmp)/", b.text)]


def test_the_tutorial_can_be_followed_without_this_repository() -> None:
    assert {b.file for b in blocks() if b.page.name == "tutorial.md" and b.file} >= {
        f"tenants/{SHOP}/tenant.yaml",
        f"tenants/{SHOP}/faq.yaml",
    }
    assert os.path.commonpath([str(b.page) for b in blocks()]) == str(ROOT)
