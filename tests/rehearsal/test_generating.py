"""Scenarios made from what a tenant has: nobody has seen this one, and what is made of it can be played as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from frontdesk.cli import app
from frontdesk.rehearsal.scenarios import load_script

TENANT = """id: loom-and-shuttle
name: Loom & Shuttle
description: Weaving courses in an old mill.
persona: Patient and exact about yarn.
languages: [en]
handoff: {phone: 01632 960888}
tools:
  - {openapi: tools/openapi.yaml, server: "http://127.0.0.1:9", bind: {pupil: customer.id}}
"""
FAQ = "- {question: Do I bring my own yarn?, answer: No. Two skeins are in the price.}\n"
DOCUMENT = """# Courses

## Courses and prices

| Course | Price |
|---|---|
| First warp | £80 |

## Missed lessons

A lesson you miss can be made up within 6 weeks.
"""
CODE = {"name": "seat", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^S-[0-9]{3}$"}, "example": "S-204"}
ANSWER = {"200": {"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}}}
OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "Mill", "version": "1"},
    "paths": {
        "/seats/{seat}": {"get": {"operationId": "getSeat", "summary": "Look up a seat", "parameters": [CODE], "responses": ANSWER}},
        "/seats/{seat}/free": {
            "post": {
                "operationId": "freeSeat",
                "summary": "Give up a seat",
                "x-frontdesk": {"confirm": True},
                "parameters": [CODE],
                "responses": ANSWER,
            }
        },
        "/pupils/hours": {
            "get": {
                "operationId": "getHours",
                "summary": "The pupil hours left",
                "parameters": [{"name": "pupil", "in": "query", "required": True, "schema": {"type": "string"}}],
                "responses": ANSWER,
            }
        },
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The scenario file of the tenant, and its scenarios by id."""
    folder = tmp_path_factory.mktemp("tenants") / "loom-and-shuttle"
    for name, text in {
        "tenant.yaml": TENANT,
        "faq.yaml": FAQ,
        "knowledge/courses.md": DOCUMENT,
        "tools/openapi.yaml": yaml.safe_dump(OPENAPI),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    out = folder.parent / "made" / "rehearsal.yaml"
    done = CliRunner().invoke(
        app, ["rehearse", "scenarios", "loom-and-shuttle", "--tenants", str(folder.parent), "--out", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0
    rows = yaml.safe_load(out.read_text(encoding="utf-8"))["scenarios"]
    return out, {row["id"]: row for row in rows}


def test_faq_documents_and_operations_each_give_scenarios_that_can_be_told_by_events(made: tuple[Path, dict[str, Any]]):
    _, rows = made
    assert rows["faq-1-do-i-bring-my-own-yarn"]["asks"][0]["expect"] == {"routes": ["faq", "knowledge"]}
    assert rows["doc-courses-md-missed-lessons"]["asks"][0]["expect"] == {"cites": ["courses.md", "faq"]}
    assert rows["table-courses-md-first-warp-price"]["asks"][0]["say"] == ["First warp: what is the price?"]
    (call,) = rows["tool-getseat"]["asks"][0]["expect"]["calls"]
    assert call == {"name": "getSeat", "arguments": {"seat": "S-204"}}
    assert rows["tool-freeseat-declined"]["policy"] == {"never_calls": ["freeSeat"]}


def test_what_needs_a_signed_in_customer_is_asked_for_without_one_and_must_not_be_called(made: tuple[Path, dict[str, Any]]):
    _, rows = made
    alone = rows["tool-gethours-signed-out"]
    assert alone["asks"][0]["say"] == ["Please tell me the pupil hours left."]
    assert alone["policy"] == {"never_calls": ["getHours"]}
    assert "customer" not in alone


def test_some_go_beyond_what_the_tenant_has(made: tuple[Path, dict[str, Any]]):
    _, rows = made
    assert {"unknown-1", "human", "injection"} <= rows.keys()


def test_the_file_can_be_played_as_it_stands(made: tuple[Path, dict[str, Any]]):
    path, rows = made
    assert {s.id for s in load_script(path).scenarios} == rows.keys()


def test_the_same_seed_makes_the_same_file_and_a_file_with_changes_is_not_overwritten(made: tuple[Path, dict[str, Any]]):
    path, _ = made
    options = ["rehearse", "scenarios", "loom-and-shuttle", "--tenants", str(path.parent.parent)]
    assert CliRunner().invoke(app, options, catch_exceptions=False).stdout == path.read_text(encoding="utf-8")
    refused = CliRunner().invoke(app, [*options, "--out", str(path)])
    assert "is there already" in str(refused.exception)
