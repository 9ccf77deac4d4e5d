import pytest

from frontdesk.knowledge.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs £1.50. You pay at once.", ["It costs £1.50.", "You pay at once."]),
        ("Bring ID, e.g. a passport. Copies are refused.", ["Bring ID, e.g. a passport.", "Copies are refused."]),
        ("Ask Mr. Smith at 5 p.m. on Monday. He knows No. 5 best.", ["Ask Mr. Smith at 5 p.m. on Monday.", "He knows No. 5 best."]),
        ("We close at 5 p.m. You can call earlier.", ["We close at 5 p.m.", "You can call earlier."]),
        ("J. R. Smith lives in the U.S. The tax is 5.5%.", ["J. R. Smith lives in the U.S.", "The tax is 5.5%."]),
        (
            "Bitte bis 3. Mai zahlen. Danach kostet es, z. B. am Montag, 5 EUR.",
            ["Bitte bis 3. Mai zahlen.", "Danach kostet es, z. B. am Montag, 5 EUR."],
        ),
        ("Take plan B. The rest is free.", ["Take plan B.", "The rest is free."]),
        ("The fee (see No. 3. of the list) is €5. Done!", ["The fee (see No. 3. of the list) is €5.", "Done!"]),
        ("退款需要三天。请等待。", ["退款需要三天。", "请等待。"]),
        ('He said "Stop!" and left. Really?', ['He said "Stop!" and left.', "Really?"]),
        ("1. Open the app.\n2. Tap Pay. Then confirm.\n- Bring ID etc.", ["Open the app.", "Tap Pay.", "Then confirm.", "Bring ID etc."]),
        ("Wait... What? Write to a.b@c.example. Thanks", ["Wait...", "What?", "Write to a.b@c.example.", "Thanks"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, expected):
    assert sentences(text) == expected


def test_every_sentence_is_a_verbatim_span_in_order():
    text = "The limit is 3.5 kg (approx. 8 lb.) per bag. See Sec. 4!  It applies from 1. Jan. 2027\n• First point. Second."
    position = 0
    for sentence in sentences(text):
        position = text.index(sentence, position) + len(sentence)
