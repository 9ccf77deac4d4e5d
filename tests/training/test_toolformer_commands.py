"""The steps as commands, in one folder, up to the one that needs a model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frontdesk.errors import BadInput
from frontdesk.training.toolformer_commands import app

EXAMPLES = str(Path(__file__).parents[2] / "examples")


def run(step: str, out: Path, *options: str) -> str:
    done = CliRunner().invoke(app, [step, "meridian-mortgage", "--out", str(out), "--tenants", EXAMPLES, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_step_reads_the_file_of_the_step_before_and_says_what_it_did(tmp_path):
    assert "from the catalog                 30" in run("texts", tmp_path, "--count", "30", "--faq", "3")
    assert "tools                            5" in run("annotate", tmp_path)
    run("sample", tmp_path, "--annotator", "catalog", "--k", "2")
    run("execute", tmp_path)
    assert len(rows(tmp_path / "texts.jsonl")) == 33
    done = rows(tmp_path / "executed.jsonl")
    assert {"getMortgageQuote", "getCreditBand", "bookValuation"} <= {r["name"] for r in done}
    assert all(r["result"] and r["source"] == "catalog" for r in done)
    about = json.loads((tmp_path / "about.json").read_text())
    assert (about["tenant"], about["sample"]["annotator"], about["execute"]["live"]) == ("meridian-mortgage", "catalog", False)
    assert about["execute"]["figures"]["dry run"] == about["execute"]["figures"]["distinct calls"]
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(BadInput, match="run the step before"):
        run("annotate", tmp_path)
    run("texts", tmp_path, "--count", "5", "--faq", "0")
    with pytest.raises(BadInput, match="say model, endpoint or catalog"):
        run("sample", tmp_path, "--annotator", "oracle")
    (tmp_path / "prompts.jsonl").write_text("")
    with pytest.raises(BadInput, match="FRONTDESK_LLM_URL"):
        run("sample", tmp_path, "--annotator", "endpoint")
    (tmp_path / "kept.jsonl").write_text("")
    with pytest.raises(BadInput, match="no call passed the filter"):
        run("dataset", tmp_path)
    (tmp_path / "texts.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(BadInput, match="id, question, text and source"):
        run("annotate", tmp_path)


def test_an_unknown_tenant_is_named(tmp_path):
    with pytest.raises(BadInput, match="no tenant 'nobody'"):
        CliRunner().invoke(app, ["texts", "nobody", "--out", str(tmp_path), "--tenants", EXAMPLES], catch_exceptions=False)
