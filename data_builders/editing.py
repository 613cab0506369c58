"""The policy's own answer with an expert's claims written in and unsupported statements cut.

Only what must change changes: sentences that are right, or of which the expert knows nothing, keep the
policy's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from data_builders.reading import Reading, read_answer
from vlmalign.clinical import Logic, derive, is_consistent, parse_text, render_sentence
from vlmalign.clinical.generator import render_answer
from vlmalign.clinical.parser import parse_turn
from vlmalign.clinical.schema import CONTRADICTORY, RESERVED, BankName
from vlmalign.records import Message, assistant, user
from vlmalign.records.hashing import derive_seed


@dataclass(frozen=True)
class Edit:
    """An edited answer.

    Attributes:
        prompt: what it answers; differs from the original's only when the first question was dropped.
        messages: the edited assistant (and later user) turns.
        changed: concept -> (value before, value after); None is "not stated".
        cut: how many unsupported statements were cut, by kind.
    """

    prompt: tuple[Message, ...]
    messages: tuple[Message, ...]
    changed: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)

    @property
    def unchanged(self) -> bool:
        """Whether nothing had to be edited."""
        return not self.changed and not self.cut


def corrected_answers(
    logic: Logic, said: Mapping[str, str], known: Mapping[str, str], *, asked: Iterable[str] | None = None
) -> dict[str, str | None]:
    """What an answer should state, given what it states and what is known.

    Known concepts take their known value, and are added when they were not stated. Derived concepts follow
    from the corrected claims. An unchecked claim that no valid path allows beside the known ones takes the
    one value that is left, or is withdrawn (None) when there are several.

    Args:
        logic: the domain's clinical logic.
        said: stated answers; `contradictory` and hedged ones included.
        known: certain answers.
        asked: for a conversation, the concepts asked for: nothing else is added.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> said = {"leukocyte": "present", "leukocyte_kind": "segmented", "focus": "sharp"}
        >>> corrected_answers(logic, said, {"leukocyte": "absent"})
        {'leukocyte': 'absent', 'leukocyte_kind': 'not_applicable', 'focus': 'sharp'}
    """
    wanted = None if asked is None else set(asked)
    target: dict[str, str | None] = {c: v for c, v in known.items() if wanted is None or c in wanted or c in said}
    firm = dict(known)
    for concept, value in said.items():
        if concept in known or logic.concepts[concept].derived:
            continue
        target[concept] = value
        if value in RESERVED:
            continue
        if not is_consistent(logic, {**firm, concept: value}):
            left = [v for v in logic.concepts[concept].values if is_consistent(logic, {**firm, concept: v})]
            target[concept] = left[0] if len(left) == 1 else None
        if target[concept] is not None:
            firm[concept] = str(target[concept])
    follows = derive(logic, firm)
    for concept in logic.derived_concepts:
        stated = concept in said or wanted is None or concept in wanted
        if concept in follows and stated:
            target[concept] = follows[concept]
        elif concept in said:
            value = said[concept]
            open_ = value in RESERVED or is_consistent(logic, {**firm, concept: value})
            target[concept] = value if open_ else None
    return target


def edit_answer(
    logic: Logic,
    prompt: tuple[Message, ...],
    messages: tuple[Message, ...],
    known: Mapping[str, str],
    *,
    seed: int,
    bank: BankName = "train",
) -> Edit | None:
    """Write known answers into a report or a conversation and cut its unsupported statements.

    Args:
        logic: the domain's clinical logic.
        prompt: what was asked.
        messages: the policy's answer.
        known: certain answers; derived ones are derived again from the corrected claims.
        seed: of the wording of what is written in.
        bank: which paraphrases.

    Returns:
        The edit, or None when nothing in the answer could be read or the edited text, read again, does not
        say what it should: such an answer is for the caller to count, not to use.
    """
    reading = read_answer(logic, prompt, messages)
    if not reading.parsed.claims:
        return None
    asked = None if reading.asked is None else [c for c in reading.asked if c is not None]
    said = reading.parsed.answers
    target = corrected_answers(logic, said, known, asked=asked)
    if reading.asked is None:
        new_prompt, turns = prompt, _edit_report(logic, reading, target, seed, bank)
    else:
        new_prompt, turns = _edit_conversation(logic, prompt, messages, reading.asked, target, seed, bank)
    if not turns:
        return None
    cut: dict[str, int] = {}
    for statement in reading.parsed.unsupported:
        cut[statement.kind] = cut.get(statement.kind, 0) + 1
    again = read_answer(logic, new_prompt, turns).parsed
    if again.unsupported or not _says(again.answers, target, asked):
        return None
    pairs = {c: (said.get(c), again.answers.get(c)) for c in logic.order}
    return Edit(new_prompt, turns, {c: (old, new) for c, (old, new) in pairs.items() if old != new}, cut)


def _says(answers: Mapping[str, str], target: Mapping[str, str | None], asked: Sequence[str] | None) -> bool:
    """Whether a text says nothing but the target and, of what it was asked for, all of it."""
    owed = {c for c, v in target.items() if v is not None and (asked is None or c in asked)}
    return owed <= set(answers) and all(target.get(c) == v for c, v in answers.items())


# -- reports --------------------------------------------------------------------------------------


def _edit_report(
    logic: Logic, reading: Reading, target: Mapping[str, str | None], seed: int, bank: BankName
) -> tuple[Message, ...]:
    parsed = reading.parsed
    claims: dict[int, dict[str, list[str]]] = {}
    for claim in parsed.claims:
        claims.setdefault(claim.sentence, {}).setdefault(claim.concept, []).append(claim.value)
    unsupported = {u.sentence for u in parsed.unsupported}
    # a concept that was contradicted and is not known stays as the policy put it
    kept = {
        k: k not in unsupported
        and all(target.get(c) in (*values, CONTRADICTORY) and len(set(values)) == 1 for c, values in said.items())
        for k, said in claims.items()
    }
    stated = {c for k, said in claims.items() if kept[k] for c in said}
    sentences: list[tuple[str, tuple[str, ...]]] = []
    for k, text in enumerate(parsed.sentences):
        if k not in claims:
            if k not in unsupported:
                sentences.append((text, ()))
        elif kept[k]:
            sentences.append((text, tuple(claims[k])))
        else:
            for concept, values in claims[k].items():
                value = target.get(concept)
                value = values[0] if value == CONTRADICTORY else value
                if value is not None and concept not in stated:
                    sentences.append((_sentence(logic, concept, value, seed, bank), (concept,)))
                    if target.get(concept) != CONTRADICTORY:
                        stated.add(concept)
    for concept in logic.order:
        value = target.get(concept)
        if value is not None and concept not in stated and value != CONTRADICTORY:
            place = _place(logic, concept, [concepts for _, concepts in sentences])
            sentences.insert(place, (_sentence(logic, concept, value, seed, bank), (concept,)))
            stated.add(concept)
    text = " ".join(text for text, _ in sentences)
    return (assistant(text),) if text else ()


def _sentence(logic: Logic, concept: str, value: str, seed: int, bank: BankName) -> str:
    return render_sentence(logic, concept, value, seed=derive_seed(seed, concept), bank=bank)


def _place(logic: Logic, concept: str, sentences: Sequence[tuple[str, ...]]) -> int:
    """Before the first sentence of a concept that canonically comes later, else at the end."""
    rank = {name: k for k, name in enumerate(logic.order)}
    for place, concepts in enumerate(sentences):
        if concepts and all(rank[c] > rank[concept] for c in concepts):
            return place
    return len(sentences)


# -- conversations --------------------------------------------------------------------------------


def _edit_conversation(
    logic: Logic,
    prompt: tuple[Message, ...],
    messages: tuple[Message, ...],
    asked: Sequence[str | None],
    target: Mapping[str, str | None],
    seed: int,
    bank: BankName,
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    questions = [prompt[-1].text, *(m.text for m in messages if m.role == "user")]
    answers = [m.text for m in messages if m.role == "assistant"]
    if not len(questions) == len(answers) == len(asked):
        return prompt, ()  # turns do not alternate
    kept: list[tuple[str, str]] = []
    for question, answer, concept in zip(questions, answers, asked, strict=True):
        text = _edit_turn(logic, concept, answer, target, seed, bank)
        if text is not None:
            kept.append((question, text))
    if not kept:
        return prompt, ()
    new_prompt = prompt
    if kept[0][0] != prompt[-1].text:
        new_prompt = (*prompt[:-1], user(kept[0][0], images=prompt[-1].n_images))
    turns: list[Message] = []
    for question, text in kept:
        turns += [user(question), assistant(text)]
    return new_prompt, tuple(turns[1:])


def _edit_turn(
    logic: Logic, concept: str | None, answer: str, target: Mapping[str, str | None], seed: int, bank: BankName
) -> str | None:
    """The edited answer of one turn; None when its claim is withdrawn."""
    turn = parse_text(logic, answer) if concept is None else parse_turn(logic, concept, answer)
    right = all(target.get(c) in (v, CONTRADICTORY) for c, v in turn.answers.items())
    if right and not turn.unsupported and (concept is None or concept in turn.answers or concept not in target):
        return answer
    value = None if concept is None else target.get(concept)
    if value is None:
        return None
    if right and concept in turn.answers and turn.unsupported:
        unsupported = {u.sentence for u in turn.unsupported}
        text = " ".join(s for k, s in enumerate(turn.sentences) if k not in unsupported)
        if text and parse_turn(logic, str(concept), text).answers == turn.answers:
            return text
    if value == CONTRADICTORY:
        return answer
    return render_answer(logic, str(concept), value, seed=derive_seed(seed, concept), bank=bank)
