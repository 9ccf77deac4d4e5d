from pathlib import Path

import pytest

from frontdesk.domain.tenancy import HandoffContact, ToolSource
from frontdesk.errors import BadTenant
from frontdesk.knowledge.tenants import load_faq, load_tenant, load_tenants

GOOD = """id: lakeside
name: Lakeside Boats
description: Boats by the hour.
languages: [en, de]
timezone: Europe/Zurich
handoff:
  email: help@lakeside.example
  phone: 0800 001
  hours: daily 9-18
tools:
  - openapi: tools/openapi.yaml
    server: http://127.0.0.1:9999
    headers: {Authorization: 'Bearer ${LAKESIDE_TOKEN}'}
    bind: {X-Member: customer.id}
scoring:
  weights: {tone: 0.5}
"""


def problems(folder: Path) -> str:
    with pytest.raises(BadTenant) as caught:
        load_tenants(folder)
    return str(caught.value)


def test_a_complete_tenant_is_read_with_every_section(tmp_path, write):
    write("lakeside/tenant.yaml", GOOD)
    write("lakeside/tools/openapi.yaml", "openapi: 3.1.0")
    write("notes/readme.txt", "not a tenant")
    (tenant,) = load_tenants(tmp_path)
    assert tenant.id == "lakeside"
    assert tenant.languages == ("en", "de")
    assert tenant.handoff == HandoffContact(email="help@lakeside.example", phone="0800 001", hours="daily 9-18")
    headers, bind = {"Authorization": "Bearer ${LAKESIDE_TOKEN}"}, {"X-Member": "customer.id"}
    assert tenant.tools == (ToolSource(openapi="tools/openapi.yaml", server="http://127.0.0.1:9999", headers=headers, bind=bind),)
    assert tenant.scoring == {"weights": {"tone": 0.5}}
    assert tenant.folder == tmp_path / "lakeside"
    assert load_tenant(tmp_path / "lakeside") == tenant


def test_every_problem_of_every_tenant_is_listed_with_its_line(tmp_path, write):
    write("a/tenant.yaml", "id: a\nname: A\nlangages: [en]\ntimezone: Mars/Base\n")
    write("b/tenant.yaml", "id: b\nhandoff:\n  email: nobody\n  mail: x\nname: [1]\n")
    write("b/faq.csv", "question,answer\nHow?\n")
    said = problems(tmp_path)
    for part in (
        "a/tenant.yaml:3: unknown key 'langages' in tenant.yaml; did you mean 'languages'?",
        "a/tenant.yaml:4: timezone 'Mars/Base' is unknown",
        "b/tenant.yaml:3: handoff.email cannot be 'nobody'; write an address",
        "b/tenant.yaml:4: unknown key 'mail'",
        "b/tenant.yaml:5: name must be a text",
        "b/faq.csv:2: has 1 columns in place of 2",
    ):
        assert part in said
    assert said.startswith("6 problems")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("id: x\nname: X\nid: y\n", ":3: 'id' stands twice"),
        ("name: X\n", ":1: 'id' is missing"),
        ("id: Bad Id!\nname: X\n", ":1: id cannot be 'Bad Id!'"),
        ("id: x\nname: X\nlanguages: en\n", ":3: languages must be a list"),
        ("id: x\nname: X\nlanguages: [english]\n", "write a code such as en"),
        ("id: x\nname: X\ntools:\n  - openapi: ../up.yaml\n", ":4: openapi '../up.yaml' leaves the tenant's folder"),
        ("id: x\nname: X\ntools:\n  - openapi: tools/none.yaml\n", "which does not exist"),
        ("id: x\nname: X\ntools:\n  - server: ftp://x\n", "'openapi' is missing"),
        ("id: x\nname: X\nidentity: {algorithms: [none]}\n", "the algorithm 'none' is not supported"),
        ("id: x\nname: X\nidentity: {jwks_url: 'file:///etc'}\n", "write an address that starts with https://"),
        ("id: x\nname: X\nprofile: [a]\n", "profile must be a mapping"),
        ("id: x\nname: X\nprofile: {a: &b {c: 1}, d: *b}\n", "aliases (*name) are not supported"),
        ("id: x\nname: X\nlines: [y]\n", "lines names 'y', which is no other tenant here"),
        ("id: x\n name: X\n", ":2: is not valid YAML"),
        ("", ":1: is empty"),
        ("id: x\nname: " + "[" * 5000, "is n"),
    ],
)
def test_a_wrong_tenant_file_is_refused_with_line_and_remedy(tmp_path, write, content, part):
    write("x/tenant.yaml", content)
    assert part in problems(tmp_path)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path, write):
    write("x/tenant.yaml", b"id: x\nname: Caf\xe9\n")
    assert ":2: is not UTF-8 text" in problems(tmp_path)


def test_two_tenants_may_not_share_an_id(tmp_path, write):
    write("a/tenant.yaml", "id: same\nname: A\n")
    write("b/tenant.yaml", "id: same\nname: B\n")
    assert "already taken" in problems(tmp_path)


def test_a_front_door_names_its_lines(tmp_path, write):
    write("door/tenant.yaml", "id: door\nname: D\nlines: [a]\n")
    write("a/tenant.yaml", "id: a\nname: A\n")
    assert load_tenants(tmp_path)[1].lines == ("a",)


def test_a_folder_without_tenants_and_a_tenants_own_folder_are_told_apart(tmp_path, write):
    assert "no tenant found" in problems(tmp_path)
    assert "there is no such folder" in problems(tmp_path / "none")
    write("a/tenant.yml", "id: a\n")
    assert "rename it to tenant.yaml" in problems(tmp_path)
    write("tenant.yaml", "id: a\nname: A\n")
    assert "one tenant's own folder" in problems(tmp_path)


def test_faq_pairs_come_from_yaml_csv_and_jsonl_in_order(tmp_path, write):
    write("faq.yaml", "- {question: 'How?', answer: 007}\n- question: When?\n  answer: |\n    Now.\n")
    write("faq.csv", 'answer,question\n"Here, there",Where?\n')
    write("faq.jsonl", '{"question": "Who?", "answer": "We."}\n\n{"question": "who? ", "answer": "We."}\n')
    assert [(p.question, p.answer) for p in load_faq(tmp_path)] == [
        ("How?", "007"),
        ("When?", "Now."),
        ("Where?", "Here, there"),
        ("Who?", "We."),
    ]
    assert load_faq(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("faq.yaml", "- question: A?\n- question: B?\n  answer: ''\n", ":1: 'answer' is missing"),
        ("faq.yaml", "question: A?\n", ":1: the FAQ must be a list"),
        ("faq.yaml", "- {question: A?, answer: x, tag: y}\n", "unknown key 'tag'"),
        ("faq.yaml", "- {question: A?, answer: x}\n- {question: a?, answer: y}\n", ":2: the question 'a?' has two different answers"),
        ("faq.csv", "q,a\n1,2\n", "write `question,answer`"),
        ("faq.csv", 'question,answer\na,"b\n', "is not valid CSV"),
        ("faq.jsonl", '{"question": "A?"}\n', ":1: the answer is missing"),
        ("faq.jsonl", '\n{"question": 3\n', ":2: is not valid JSON"),
        ("faq.jsonl", "[]\n", "is not an object"),
    ],
)
def test_a_wrong_faq_is_refused_with_line_and_remedy(tmp_path, write, name, content, part):
    write(name, content)
    with pytest.raises(BadTenant) as caught:
        load_faq(tmp_path)
    assert part in str(caught.value)


def test_the_models_section_is_read_strictly(tmp_path, write):
    write("a/tenant.yaml", "id: a\nname: A\nmodels: {strategy: react, propose: model, phrase: false, translate: opus}\n")
    (tenant,) = load_tenants(tmp_path)
    assert tenant.models == {"strategy": "react", "propose": "model", "phrase": False, "translate": "opus"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("strategy: reakt", "models.strategy cannot be 'reakt'; did you mean 'react'?"),
        ("propose: everybody", "models.propose cannot be 'everybody'; use one of desk, model"),
        ("phrase: sometimes", "models.phrase must be true or false"),
        ("temperature: 1", "unknown key 'temperature' in models"),
    ],
)
def test_a_wrong_model_setting_is_refused_with_a_remedy(tmp_path, write, line, said):
    write("a/tenant.yaml", f"id: a\nname: A\nmodels:\n  {line}\n")
    assert f"a/tenant.yaml:4: {said}" in problems(tmp_path)


def test_retention_is_read_as_days(tmp_path, write):
    write("a/tenant.yaml", "id: a\nname: A\nretention: {days: 365}\n")
    assert load_tenants(tmp_path)[0].retention.days == 365


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{days: 0}", "whole number from 1"),
        ("{days: 1.5}", "whole number from 1"),
        ("{days: true}", "whole number from 1"),
        ("{days: '30'}", "whole number from 1"),
        ("{days: 99999}", "whole number from 1"),
        ("{}", "'days' is missing"),
        ("{month: 1}", "unknown key 'month'"),
        ("30", "must be a mapping"),
    ],
)
def test_a_wrong_retention_is_refused(tmp_path, write, line, complaint):
    write("a/tenant.yaml", f"id: a\nname: A\nretention: {line}\n")
    with pytest.raises(BadTenant, match=complaint):
        load_tenants(tmp_path)
