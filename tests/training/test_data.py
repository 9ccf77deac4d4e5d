"""Facts, wordings, examples from an FAQ, and what is refused before a minute is spent."""

from pathlib import Path

import pytest

from frontdesk.domain.knowledge import FaqPair
from frontdesk.errors import BadInput
from frontdesk.training.data import Example, Voice, digest, from_faq, from_json, general, read_wordings, report, to_json
from frontdesk.training.facts import key_facts, missing, recall
from frontdesk.training.wordings import by_rules, folded

VOICE = Voice(company="Larkfield Library")
PAIRS = [
    FaqPair(question="How do I renew a loan?", answer="Online or on 01632 960555, up to 3 times, by 8:30pm on the last day."),
    FaqPair(question="What does a lost card cost?", answer="A new card costs £2.50; children pay nothing."),
    FaqPair(question="Can I bring my dog?", answer="Only assistance dogs may come in."),
]


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ("It costs £1,250.50 or 12 euros.", ("£1250.5", "€12")),
        ("We open at 8am and close at 17:30.", ("08:00", "17:30")),
        ("Call 01632 960 555 within two days.", ("01632960555", "2")),
        ("You pay 6.9% or 7 per cent.", ("6.9%", "7%")),
        ("See books.larkfield.example/renew for the Red Reading Card.", ("books.larkfield.example/renew", "red reading card")),
        ("Only assistance dogs may come in.", ()),
    ],
)
def test_key_facts_are_figures_amounts_times_numbers_and_names(answer: str, facts: tuple[str, ...]) -> None:
    assert key_facts(answer) == facts


def test_what_the_question_says_is_no_fact_of_the_answer() -> None:
    assert key_facts("After 30 days we charge £5.", question="What happens after 30 days?") == ("£5",)


def test_a_fact_is_found_in_another_spelling_but_another_figure_is_not_it() -> None:
    assert missing(("£2.5", "17:30", "3"), "At 5:30 pm it is £2.50 for three people.") == ()
    assert missing(("£2.5", "3"), "It is £12.50 for 30 people.") == ("£2.5", "3")


def test_recall_counts_facts_and_whole_answers_and_skips_answers_without_facts() -> None:
    told, complete = recall([("1", "2"), ("3",), ()], ["1 only", "3 books", "anything"])
    assert (told, complete) == (2 / 3, 1 / 2)


def test_wordings_differ_from_the_question_and_from_each_other_and_are_the_same_each_time() -> None:
    for pair in PAIRS:
        found = by_rules(pair.question, count=8)
        assert len(found) >= 4
        assert len({folded(w) for w in [pair.question, *found]}) == len(found) + 1
        assert found == by_rules(pair.question, count=8)


def test_wordings_never_change_a_figure() -> None:
    question = "Can I send £250 within 30 days to someone abroad?"
    assert all(key_facts(w) == key_facts(question) for w in by_rules(question, count=10))


def test_every_fact_is_trained_and_tested_in_wordings_that_never_meet() -> None:
    examples = from_faq(PAIRS, VOICE)
    for number in range(len(PAIRS)):
        mine = [e for e in examples if e.group == f"faq:{number}"]
        assert {e.split for e in mine} == {"train", "tuning", "held_out"}
        assert len({folded(e.question) for e in mine}) == len(mine)
    assert report(examples).leaks == ()


def test_question_and_answer_carry_the_company_and_the_system_prompt_names_it() -> None:
    example = from_faq(PAIRS, VOICE)[0]
    assert [m["role"] for m in example.messages] == ["system", "user", "assistant"]
    assert example.messages[0]["content"] == "You are a helpful chatbot for customers of Larkfield Library."
    assert example.question == "In Larkfield Library, How do I renew a loan?"
    assert example.answer.startswith("In Larkfield Library, Online or on")


def test_wordings_written_by_hand_are_learnt_and_those_kept_apart_are_only_tested(tmp_path: Path) -> None:
    hand = tmp_path / "hand.jsonl"
    hand.write_text('{"question": "Can I bring my dog?", "wordings": ["Are pets welcome?"]}\n\n', encoding="utf-8")
    examples = from_faq(PAIRS, VOICE, by_hand=read_wordings(hand), unseen={"Can I bring my dog?": ["May Rex come along?"]})
    splits = {e.question.removeprefix("In Larkfield Library, "): e.split for e in examples if e.origin == "hand"}
    assert splits == {"Are pets welcome?": "train", "May Rex come along?": "held_out"}


def test_an_example_reads_back_from_its_json() -> None:
    example = from_faq(PAIRS, VOICE)[3]
    assert from_json(to_json(example)) == example
    assert digest([example]) == digest([from_json(to_json(example))])


def test_the_report_counts_duplicates_conflicts_and_answers_without_facts() -> None:
    def ask(question: str, answer: str) -> Example:
        return Example(messages=({"role": "user", "content": question}, {"role": "assistant", "content": answer}), group=answer)

    found = report([ask("When?", "At 9am"), ask("when", "At 9am"), ask("When?", "At noon")])
    assert (len(found.duplicates), len(found.conflicts), len(found.without_facts)) == (1, 1, 2)
    assert any("asked for different answers: 1" in line for line in found.lines())


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], "the FAQ has 0 pairs"),
        (PAIRS[:1], "the FAQ has 1 pair:"),
        ([*PAIRS, FaqPair(question="can I bring my DOG", answer="Yes, all dogs.")], "contradict one another"),
        ([*PAIRS, FaqPair(question="Tell me all", answer="x" * 2_000_000)], "has 2,000,000 characters, more than 4,000"),
    ],
)
def test_an_faq_that_cannot_teach_is_refused_in_one_sentence(pairs: list[FaqPair], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        from_faq(pairs, VOICE)
    assert len(str(caught.value)) < 400


def test_wordings_of_a_question_that_is_not_there_are_refused() -> None:
    with pytest.raises(BadInput, match="name a question that the FAQ does not have"):
        from_faq(PAIRS, VOICE, by_hand={"Can I bring my cat?": ["Cats?"]})


def test_a_broken_line_of_wordings_is_named(tmp_path: Path) -> None:
    file = tmp_path / "w.jsonl"
    file.write_text('{"question": "a", "wordings": ["b"]}\n{"question": "a", "wordings": "b"}\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"w\.jsonl:2: write"):
        read_wordings(file)


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(BadInput, match="no example to learn from"):
        report([])


def test_what_is_replayed_is_never_what_forgetting_is_measured_on() -> None:
    known = general()
    assert known.questions
    assert known.texts
    assert not {folded(q) for q in known.questions} & {folded(q) for q in known.tested}
    assert known.passages
    assert not {folded(t) for t in known.passages} & {folded(t) for t in known.texts}
