"""The customer with an agenda: decides what is said next and how a reply is taken. Pure; a model may word it, but never decides it.

It never invents a fact: every value comes from the scenario. A detail given wrongly on purpose is marked as planned.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from frontdesk.rehearsal.cast import Cast, Mood
from frontdesk.rehearsal.reading import words
from frontdesk.rehearsal.scenarios import Ask, Scenario
from frontdesk.rehearsal.talk import AGENT, CUSTOMER, FAILED, Act, Line, Mind, Talk
from frontdesk.rehearsal.understanding import wanted

PLEASED, PUT_OFF, ANSWERED_AGAIN = 0.3, -0.25, -0.5
"""How a met wish, a missed one and the same reply twice move the mood."""
SUNNY, GRIM = 0.4, -0.4
"""Tempers above and below which somebody sounds like it."""
FREE_ACTS = ("attack", "aside", "vague", "correct")
"""Whatever comes back to these costs no patience: nothing that could be met was asked."""
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be said: the core in plain words, what may stand around it, and the values that must come through."""

    core: str
    leads: tuple[str, ...] = ("",)
    tails: tuple[str, ...] = ("",)
    """What may stand before and after the core in this mood."""
    before: str = ""
    after: str = ""
    """Which of them the seed drew, for when no model chooses."""
    acts: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    mood: Mood

    @property
    def plain(self) -> str:
        """What is said, without what stands around it: the core, or the last word, which has none."""
        return self.core or self.template

    @property
    def template(self) -> str:
        """The line as it is said when no model words it."""
        return " ".join(part for part in (self.before, self.core, self.after) if part)


def decide(cast: Cast, scenario: Scenario, talk: Talk) -> tuple[Mind, Draft]:
    """What the customer says next, and what is in its mind then. Depends on the talk and its seed alone."""
    rng = random.Random(f"{talk.seed}:{talk.turns}")  # noqa: S311 - a draw, no secret
    mind = talk.mind if talk.mind.pending or talk.lines else _begun(cast, scenario, talk, rng)
    act, rest = mind.pending[0], mind.pending[1:]
    mood = cast.shifted(talk.role.mood, mind.shift)
    told = {**mind.told, act.fact: act.slots[0]} if act.fact and act.slots else mind.told
    leads, tails = _leads(mood, mind, act, talk), _tails(cast, mood, act, talk)
    draft = Draft(
        core=act.text,
        leads=leads,
        tails=tails,
        before=rng.choice(leads),
        after=rng.choice(tails),
        acts=(act.kind,),
        slots=() if act.wrong else act.slots,
        planned=act.slots if act.wrong else _digits(scenario.belief) if act.kind == "belief" else (),
        mood=mood,
    )
    return replace(mind, pending=rest, told=told), _fresh(draft, talk)


def take(scenario: Scenario, talk: Talk, *, met: bool) -> Mind:
    """The customer's mind after the agent's last line. `met`: whether it met the wish at hand, as the referee sees it."""
    mind, reply, said = talk.mind, talk.lines[-1], talk.lines[-2]
    kind = said.acts[0] if said.acts else ""
    if mind.finished or mind.gave_up:
        return mind
    if met or kind == "decline":
        return _next_wish(scenario, replace(mind, met=(*mind.met, mind.asking), shift=mind.shift + PLEASED), talk)
    if mind.pending:  # something is to be said whatever the reply was
        return mind
    if reply.by == FAILED:  # nobody's fault that can be talked about: it is simply said again
        return replace(mind, tries=mind.tries + 1, pending=(_again(scenario, mind, said),))
    if kind in ("attack", "aside") and mind.asking < 0 and not scenario.asks:
        return replace(mind, finished=True)
    rng = random.Random(f"{talk.seed}:{talk.turns}:reaction")  # noqa: S311 - a draw, no secret
    if (answer := _answer(scenario, talk, reply, rng)) is not None:
        patience = mind.patience - (answer[0].kind in ("admit", "puzzled"))
        return _or_gives_up(replace(mind, pending=answer, patience=patience), "was asked for what it cannot tell")
    if kind in FREE_ACTS:
        return replace(mind, pending=(_ask(scenario, max(0, mind.asking), mind.tries, mind.told),), asking=max(0, mind.asking))
    again = any(line.text == reply.text for line in talk.lines[:-1] if line.role == AGENT)
    disappointed = replace(
        mind,
        tries=mind.tries + 1,
        patience=mind.patience - 1 - again,
        shift=max(-2.0, mind.shift + (ANSWERED_AGAIN if again else PUT_OFF)),
        pending=(_ask(scenario, max(0, mind.asking), mind.tries + 1, mind.told),),
        asking=max(0, mind.asking),
    )
    return _or_gives_up(disappointed, "lost patience: the replies did not meet the wish")


def farewell(cast: Cast, talk: Talk, *, content: bool) -> Draft:
    """The customer's last word, which nobody answers. It has no core: all of it may be chosen."""
    rng = random.Random(f"{talk.seed}:farewell")  # noqa: S311 - a draw, no secret
    mood = cast.shifted(talk.role.mood, talk.mind.shift)
    words_of = (mood.closes or ("Thank you.",)) if content else words()["leave"]
    return Draft(core="", leads=tuple(words_of), before=rng.choice(words_of), acts=("close" if content else "leave",), mood=mood)


def _begun(cast: Cast, scenario: Scenario, talk: Talk, rng: random.Random) -> Mind:
    traits, acts = talk.role.traits, list[Act]()
    attacks = scenario.attacks or ((rng.choice(cast.attacks),) if "hostile" in traits and cast.attacks else ())
    acts += [Act(kind="attack", text=a) for a in attacks]
    if not scenario.asks:
        return replace(talk.mind, pending=tuple(acts))
    first = _ask(scenario, 0, 0, {})
    if "mistaken" in traits and scenario.belief:
        told = rng.choice(words()["belief"]).format(belief=scenario.belief)
        acts.append(replace(first, kind="belief", text=f"{told} {first.text}"))
    elif "vague" in traits and scenario.topic and not acts:
        acts.append(Act(kind="vague", text=rng.choice(words()["vague"]).format(topic=scenario.topic)))
    elif not acts:
        acts.append(first)
    if "off_topic" in traits and cast.asides:
        acts.append(Act(kind="aside", text=rng.choice(cast.asides)))
        acts.append(_ask(scenario, 0, 1, {}))
    return replace(talk.mind, pending=tuple(acts), asking=0)


def _next_wish(scenario: Scenario, mind: Mind, talk: Talk) -> Mind:
    following = mind.asking + 1
    if following >= len(scenario.asks):
        return replace(mind, finished=True, pending=())
    return replace(mind, asking=following, tries=0, pending=(_ask(scenario, following, 0, mind.told),))


def _or_gives_up(mind: Mind, why: str) -> Mind:
    return replace(mind, gave_up=why, pending=()) if mind.patience <= 0 else mind


def _again(scenario: Scenario, mind: Mind, said: Line) -> Act:
    if not scenario.asks or mind.asking < 0:
        return Act(kind=said.acts[0], text=said.draft)
    return _ask(scenario, mind.asking, mind.tries + 1, mind.told)


def _ask(scenario: Scenario, number: int, tries: int, told: Mapping[str, str]) -> Act:
    ask: Ask = scenario.asks[number]
    wording = ask.say[tries % len(ask.say)]
    used = [name for name in scenario.known if f"{{{name}}}" in wording]
    text = wording
    for name in used:
        text = text.replace(f"{{{name}}}", scenario.known[name])
    return Act(kind="ask", text=text, slots=tuple(scenario.known[n] for n in used))


def _answer(scenario: Scenario, talk: Talk, reply: Line, rng: random.Random) -> tuple[Act, ...] | None:
    """What the customer answers to a question of the agent; None when there was none."""
    wish = wanted(reply.text, route=reply.route, facts=(*scenario.known, *scenario.unknown), values=scenario.known.values())
    if wish.consent:
        return (
            Act(kind="agree" if scenario.consents else "decline", text=rng.choice(words()["agree" if scenario.consents else "decline"])),
        )
    if wish.fact in scenario.known:
        return _give(scenario, talk, wish.fact, rng)
    if wish.value:
        return (Act(kind="choose", text=rng.choice(words()["choose"]).format(value=wish.value), slots=(wish.value,)),)
    if wish.fact:
        return (Act(kind="admit", text=rng.choice(words()["admit"]).format(fact=wish.fact)),)
    if wish.question and reply.route in ("elicit", ""):
        return (Act(kind="puzzled", text=rng.choice(words()["puzzled"])),)
    return None


def _give(scenario: Scenario, talk: Talk, fact: str, rng: random.Random) -> tuple[Act, ...]:
    value, said = scenario.known[fact], words()
    right = Act(kind="give", text=rng.choice(said["give"]).format(fact=fact, value=value), slots=(value,), fact=fact)
    if "contradictory" not in talk.role.traits or fact in talk.mind.told or not _DIGIT.search(value):
        return (right,)
    slip = _another(value, rng)
    wrong = Act(kind="give", text=rng.choice(said["give"]).format(fact=fact, value=slip), slots=(slip,), fact=fact, wrong=True)
    correction = rng.choice(said["correct"]).format(fact=fact, value=value)
    return wrong, Act(kind="correct", text=correction, slots=(value,), fact=fact)


def _another(value: str, rng: random.Random) -> str:
    """The value with its last digit changed: of the same form, and certainly wrong."""
    place = max(m.start() for m in _DIGIT.finditer(value))
    return value[:place] + str((int(value[place]) + rng.randint(1, 8)) % 10) + value[place + 1 :]


def _leads(mood: Mood, mind: Mind, act: Act, talk: Talk) -> tuple[str, ...]:
    """What may stand before the core: a greeting first, insistence when asked in vain, a short word before a detail."""
    if not talk.turns:
        return ("",) if "hurried" in talk.role.traits else mood.opens or ("",)
    if act.kind == "ask" and mind.tries:
        return mood.presses or ("",)
    if act.kind in ("give", "choose", "admit", "agree"):
        return ("", *words()["sunny" if mood.temper > SUNNY else "grim" if mood.temper < GRIM else "neutral"])
    return ("",)


def _tails(cast: Cast, mood: Mood, act: Act, talk: Talk) -> tuple[str, ...]:
    """What may stand after the core: a sentence of a trait or of the mood; nothing beside a detail that was asked for."""
    if act.kind not in ("ask", "belief", "vague"):
        return ("",)
    adds = tuple(sentence for trait in talk.role.traits for sentence in cast.adds.get(trait, ()))
    return adds if adds and not talk.turns else ("", *adds, *mood.tails)


def _fresh(draft: Draft, talk: Talk) -> Draft:
    """The draft in words that this customer did not use before."""
    used = {line.text for line in talk.lines if line.role == CUSTOMER} | {line.draft for line in talk.lines}
    if draft.template not in used:
        return draft
    options: Sequence[str] = (*draft.mood.presses, *words()["again"])
    return next((d for o in options if (d := replace(draft, before=o, leads=(o,))).template not in used), draft)


def _digits(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\s]*\d[^\s.,;!?]*", text))
