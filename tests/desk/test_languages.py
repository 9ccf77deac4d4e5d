"""The customer's language among the tenant's: recognised from few words, never guessed at where there is one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from frontdesk.desk import languages
from frontdesk.desk.phrases import Phrases
from frontdesk.domain.conversation import Conversation, ConversationId, Speaker, TurnId, Utterance
from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import HandoffContact, Tenant, TenantId

FIVE = ("en", "de", "fr", "es", "nl")
SHORT = {
    "en": (
        "Hi", "Hi, my name is Jürgen", "What is a Girokonto?", "where is my order 4711", "refund please", "Thanks!", "How much is it?",
        "Is María Núñez your agent?", "My card from El Corte was declined", "Do you ship to Köln?", "opening hours", "cancel order",
        "Jean-François here, when will it arrive?",
    ),
    "de": (
        "Wo ist mein Paket?", "Rückgabe?", "Was kostet das?", "Danke!", "Wie lange dauert die Lieferung?", "Öffnungszeiten?",
        "Und für zwei?", "Kann ich stornieren?", "Versand nach Österreich", "Guten Tag", "Ich möchte mein Geld zurück",
    ),
    "fr": (
        "merci", "Où est mon colis ?", "Combien ça coûte ?", "Bonjour", "Livraison gratuite ?", "remboursement",
        "Quels sont vos horaires ?", "C'est quoi le délai ?", "oui",
    ),
    "es": ("¿Cuánto cuesta?", "Hola", "¿Dónde está mi pedido?", "gracias", "Quiero devolverlo", "horario", "envío gratis?"),
    "nl": ("Hoeveel kost het?", "Waar is mijn pakket?", "bedankt", "Ik wil mijn geld terug", "Openingstijden?", "levering", "Hoi"),
}  # fmt: skip


def conversation(*said: str) -> Conversation:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    told = tuple(Utterance(speaker=Speaker.CUSTOMER, text=text, turn=TurnId(str(n)), at=now) for n, text in enumerate(said))
    return Conversation(id=ConversationId("cv"), tenant=TenantId("t"), customer=None, opened_at=now, utterances=told)


def tenant(*spoken: str, **more: object) -> Tenant:
    return Tenant(id=TenantId("t"), name="Tide Kayaks", languages=spoken, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("language", SHORT)
def test_short_messages_are_recognised_or_left_open_but_not_taken_for_another_language(language: str):
    found = [languages.recognised(text, FIVE) for text in SHORT[language]]
    assert set(found) <= {language, None}
    assert found.count(language) >= 0.8 * len(found)


@pytest.mark.parametrize("text", ["Dirk van der Berg wants a refund", "I live in Los Angeles", "ok", "4711", "", "???"])
def test_what_remains_open_is_the_tenants_first_language(text: str):
    assert languages.spoken(tenant(*FIVE), conversation(), text) == "en"


def test_a_message_that_could_be_several_is_in_the_language_of_those_before():
    assert languages.spoken(tenant(*FIVE), conversation("Wo ist mein Paket?", "4711"), "ok") == "de"


def test_a_tenant_with_one_language_is_never_guessed_at():
    assert languages.spoken(tenant("en"), conversation(), "Wo ist mein Paket und wann kommt es an?") == "en"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("¿Hablan español?", "es"),
        ("Wann habt ihr geöffnet und was kostet das?", "de"),
        ("Bonjour, combien coûte la livraison ?", "fr"),
        ("Hoeveel kost het en wanneer kan ik langskomen?", "nl"),
        ("Where is my order?", None),
        ("do you sell café au lait", None),
        ("Is the El Dorado open?", None),
        ("el dorado", None),
        ("4711", None),
        ("ok", None),
        ("hours?", None),
    ],
)
def test_who_plainly_speaks_what_the_tenant_does_not_serve_is_recognised(text: str, language: str | None):
    assert languages.unspoken(tenant("en"), text) == language


def test_a_language_that_the_tenant_serves_is_not_strange():
    assert languages.unspoken(tenant("en", "de"), "Wann habt ihr geöffnet und was kostet das?") is None


def test_a_passage_is_in_the_language_of_its_folder_or_of_its_words():
    def passage(source: str, title: str, text: str) -> Passage:
        return Passage(id=PassageId("p"), document=DocumentId("d"), source=source, title=title, kind=PassageKind.PROSE, text=text)

    assert languages.written(passage("de/hours.md", "Hours", "Open at nine."), FIVE) == "de"
    assert languages.written(passage("faq", "What does a day in a kayak cost?", "A day costs 45 euros, paddle included."), FIVE) == "en"
    assert languages.written(passage("faq", "Was kostet ein Tag?", "Ein Tag kostet 45 Euro."), FIVE) == "de"


@pytest.mark.parametrize("language", FIVE)
def test_every_phrase_of_every_language_can_be_said(language: str):
    phrases = Phrases(tenant(*FIVE, handoff=HandoffContact(email="help@tide.example", phone="0123")), language)
    for key in languages.known()[language].get("phrases", {}):
        if not key.startswith("by_"):
            assert "{" not in phrases.say(key, languages="X", question="Y", ways="Z")
    assert "help@tide.example" in phrases.say("unknown")


def test_english_phrases_are_those_that_a_tenant_with_english_alone_hears():
    contact = HandoffContact(email="help@tide.example", phone="0123", hours="9 to 5")
    one, many = Phrases(tenant("en", handoff=contact)), Phrases(tenant(*FIVE, handoff=contact), "en")
    assert one.say("unknown") == many.say("unknown")
    assert one.say("unknown").endswith("Our team can help you by phone on 0123 (9 to 5) or by e-mail at help@tide.example.")


def test_a_tenants_own_phrases_are_in_its_first_language_only():
    own = {"phrases": {"thanks": "Any time."}}
    assert Phrases(tenant("en", "de", guardrails=own), "en").say("thanks") == "Any time."
    assert Phrases(tenant("en", "de", guardrails=own), "de").say("thanks").startswith("Gern")
