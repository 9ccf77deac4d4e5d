"""Pages against code: tables come from it, links lead somewhere, every word of the glossary is explained."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.docs.blocks import blocks
from tests.docs.sections import MARKED, ROOT, SECTIONS, pages, renewed

from frontdesk.domain.tenancy import Tenant
from frontdesk.settings import Settings

PAGES = pages()
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_VARIABLE = re.compile(r"\bFRONTDESK_([A-Z_]+)\b")
LEAD_ADDS = {"docs/chat.png"}
"""Pictures that are taken from a running desk."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_takes_from_the_code_is_what_the_code_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert renewed(text) == text, "run `make docs`"


def test_everything_the_code_can_tell_is_told_on_some_page() -> None:
    told = {m[2] for page in PAGES for m in MARKED.finditer(page.read_text(encoding="utf-8"))}
    assert told == set(SECTIONS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    dead = []
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        target = match[1] or match[2]
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, heading = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if name(found) in LEAD_ADDS:
            continue
        if not found.exists() or (heading and found.suffix == ".md" and heading not in _anchors(found)):
            dead.append(target)
    assert not dead


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_that_a_page_names_exist(page: Path) -> None:
    known = {f.name.upper() for f in dataclasses.fields(Settings)}
    named = set(_VARIABLE.findall(page.read_text(encoding="utf-8"))) - {""}
    assert named <= known


def test_the_tenant_reference_has_a_heading_for_every_key() -> None:
    text = (ROOT / "docs/reference/tenant.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `(\w+)`", text, re.MULTILINE))
    assert headings == {f.name for f in dataclasses.fields(Tenant)} - {"folder"}


def test_every_glossary_term_has_one_explanation() -> None:
    rows = re.findall(r"^\*\*(.+?)\*\*: (.+)$", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    terms = [term for term, _ in rows]
    assert len(terms) == len(set(terms))
    words = {w for term in terms for w in re.split(r" / |, ", term)}
    expected = {"tenant", "customer", "agent", "desk", "operator", "caller", "channel", "conversation", "session", "utterance", "turn",
                "intent", "route", "slot", "elicitation", "FAQ pair", "document", "passage", "citation", "tool", "tool call", "tool result",
                "draft", "objection", "reply", "guardrail", "handoff", "escalation", "event", "event log", "containment", "resolution", "CSAT",
                "FCR", "AHT", "sentiment", "mood", "persona", "scenario", "cast", "referee", "trajectory", "termination reason", "base model",
                "adapter", "example", "split", "recipe"}  # fmt: skip
    assert expected <= words


def test_a_decision_record_says_context_decision_and_price() -> None:
    for record in sorted((ROOT / "docs/adr").glob("*.md")):
        text = record.read_text(encoding="utf-8")
        assert re.match(r"# \d+\. ", text), record
        assert all(f"**{part}" in text for part in ("Context", "Decision", "Price")), record


def test_no_committed_page_names_a_package_host() -> None:
    for lock in sorted((ROOT / "requirements").iterdir()):
        assert not re.search(r"https?://", lock.read_text(encoding="utf-8")), lock


def test_deployment_files_set_variables_that_exist() -> None:
    known = {f.name.upper() for f in dataclasses.fields(Settings)}
    for file in sorted(p for p in (ROOT / "deploy").iterdir() if p.is_file()):
        assert set(_VARIABLE.findall(file.read_text(encoding="utf-8"))) <= known, file
    assert yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))["services"]


def test_the_example_tenants_offer_three_questions_between_them() -> None:
    folders = sorted((ROOT / "examples").glob("*/tenant.yaml"))
    asked = [q for f in folders for q in (yaml.safe_load(f.read_text(encoding="utf-8")).get("demo") or {}).get("questions", [])]
    assert len(asked) == 3


def test_the_documentation_has_blocks_of_each_kind() -> None:
    assert {"sh", "python", "yaml", "html", "json"} <= {b.language for b in blocks()}


def test_the_locks_hold_every_package_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    run, dev = (_locked(name) for name in ("run.txt", "dev.txt"))
    assert {_package(d) for d in project["dependencies"]} <= set(run)
    assert {_package(d) for d in project["optional-dependencies"]["dev"]} <= set(dev)
    assert run.items() <= dev.items()
    assert _locked("uv.txt") == _locked("uv.in")  # what installs the others


def _locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", (ROOT / "requirements" / name).read_text(encoding="utf-8"), re.MULTILINE))


def _package(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", requirement)[0]).lower()
