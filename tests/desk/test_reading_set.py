"""The general reading set: every reference in it resolves, word for word. Refuses a question whose proof is not in its company's sources.

In `answer`, the references of a `multi` question are needed together; in every other kind each reference alone proves the answer.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import frontdesk.desk

FOLDER = Path(frontdesk.desk.__file__).parent / "reading_set"
FILES = sorted(FOLDER.glob("*.yaml"))
LEAST = {"faq": 14, "prose": 9, "table": 9, "yesno": 5, "none": 8, "multi": 0}


class Table(NamedTuple):
    source: str
    heading: str
    columns: list[str]
    rows: dict[str, list[str]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(company: dict[str, Any]) -> Iterator[Table]:
    for document in company["documents"]:
        heading, block = "", []
        for line in [*document["text"].split("\n"), ""]:
            if line.startswith("|"):
                block.append(line)
                continue
            if block:
                assert re.fullmatch(r"[|\s:-]+", block[1]), f"second line of a table is its rule: {block[1]}"
                width = len(cells(block[0]))
                assert all(len(cells(row)) == width for row in block), f"ragged table under {heading}"
                body = [cells(row) for row in block[2:]]
                assert len({row[0] for row in body}) == len(body), f"first cells repeat under {heading}"
                yield Table(document["source"], heading, cells(block[0]), {row[0]: row for row in body})
                block = []
            if line.startswith("#"):
                heading = line.lstrip("#").strip()


def prose(company: dict[str, Any], source: str) -> list[str]:
    text = next(d["text"] for d in company["documents"] if d["source"] == source)
    return [line for line in text.split("\n") if not line.startswith(("|", "#"))]


def check(reference: dict[str, Any], company: dict[str, Any]) -> None:
    keys = set(reference)
    if "faq" in keys:
        assert keys <= {"faq", "sentence"}
        answer = company["faq"][reference["faq"]]["answer"]
        assert reference.get("sentence", "") in answer, reference
    elif "quote" in keys:
        assert keys == {"source", "quote"}
        assert reference["quote"].endswith((".", "!", "?")), f"a quote is a whole sentence: {reference}"
        assert any(reference["quote"] in line for line in prose(company, reference["source"])), reference
    else:
        assert keys == {"source", "heading", "row", "column", "value"}
        places = [t for t in tables(company) if (t.source, t.heading) == (reference["source"], reference["heading"])]
        assert len(places) == 1, reference
        table = places[0]
        assert table.columns.count(reference["column"]) == 1, reference
        assert table.rows[reference["row"]][table.columns.index(reference["column"])] == reference["value"], reference


@pytest.fixture(params=FILES, ids=lambda path: path.stem, scope="module")
def company(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    assert loaded["id"] == request.param.stem
    return loaded


def test_every_reference_is_word_for_word_in_its_source(company: dict[str, Any]) -> None:
    for question in company["questions"]:
        for reference in question["answer"]:
            check(reference, company)


def test_each_kind_of_question_carries_what_its_kind_needs(company: dict[str, Any]) -> None:
    marks = {"faq": "faq", "prose": "quote", "table": "row"}
    for question in company["questions"]:
        kind, answer = question["kind"], question["answer"]
        assert kind in LEAST, question
        assert bool(answer) == (kind != "none"), question
        assert (question.get("polarity") in ("yes", "no")) == (kind == "yesno"), question
        assert kind != "multi" or len(answer) > 1, question
        if kind in marks:
            assert any(marks[kind] in reference for reference in answer), question


def test_a_company_has_the_agreed_material_and_mix_of_questions(company: dict[str, Any]) -> None:
    assert 12 <= len(company["faq"]) <= 40
    assert 2 <= len(company["documents"]) <= 4
    assert len(list(tables(company))) >= 2
    counts = Counter(question["kind"] for question in company["questions"])
    assert all(counts[kind] >= least for kind, least in LEAST.items()), counts
    assert {q["polarity"] for q in company["questions"] if q["kind"] == "yesno"} == {"yes", "no"}


def test_no_question_is_asked_twice_nor_copies_an_faq_question(company: dict[str, Any]) -> None:
    asked = [question["q"].strip().lower() for question in company["questions"]]
    assert len(set(asked)) == len(asked)
    assert not set(asked) & {pair["question"].strip().lower() for pair in company["faq"]}


def test_the_set_spans_at_least_twenty_four_companies() -> None:
    assert len(FILES) >= 24
    assert len({yaml.safe_load(path.read_text(encoding="utf-8"))["name"] for path in FILES}) == len(FILES)
