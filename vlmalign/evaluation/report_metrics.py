"""Score one candidate's words: a report, or a conversation, against what is known to be true."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from vlmalign.clinical import Logic, parse_answer, parse_text
from vlmalign.evaluation.answer_scores import (
    CaseTruth,
    ItemScore,
    path_consistency,
    score_question_answers,
    score_report_answers,
)
from vlmalign.records import Candidate

HiddenStatements = Mapping[str, Sequence[str]]
SpanState = Literal["right", "wrong", "unsupported", "unverified", "plain"]

#: a generated sentence counts as a hidden statement from this word-sequence similarity on
SIMILAR = 0.8


class Span(NamedTuple):
    """A piece of an answer and what is to be said of it."""

    text: str
    state: SpanState


def score_report(
    logic: Logic,
    candidate: Candidate,
    truth: CaseTruth,
    *,
    in_scope: Collection[str],
    hidden_statements: HiddenStatements | None = None,
) -> ItemScore:
    """Score a report.

    Args:
        logic: the domain; its parser reads the report.
        candidate: one assistant turn.
        truth: what is known of the case, derived concepts included.
        in_scope: concepts that the expert can verify.
        hidden_statements: kind -> sentences that no image supports and that the logic does not list.

    Returns:
        Beside the figures of `score_report_answers`: `unsupported_known` and `unsupported_unknown` (1 if
        something of a listed or a hidden kind is said), `invalid_rate` (1 if no claim parses or the answer was
        cut off), `unrecognised` (sentences that say nothing the logic knows), `answer_tokens` (None if the
        candidate doesn't tell).

    Raises:
        ValueError: the candidate belongs to another case, or is a conversation.
    """
    _check_case(candidate, truth)
    if len(candidate.messages) != 1:
        raise ValueError(
            f"candidate {candidate.id!r} has {len(candidate.messages)} turns: a report has one; "
            "score it with score_conversation"
        )
    parsed = parse_text(logic, candidate.text)
    known_kind = bool(parsed.unsupported)
    listed = {u.sentence for u in parsed.unsupported}
    others = [s for i, s in enumerate(parsed.sentences) if i not in listed]
    hidden = hidden_sentences(others, hidden_statements or {})
    invalid = not parsed.claims or not candidate.finished
    metrics = score_report_answers(
        logic, parsed.answers, truth.known, in_scope, spoiled=known_kind or bool(hidden) or invalid
    )
    metrics |= {
        "unsupported_known": float(known_kind),
        "unsupported_unknown": float(bool(hidden)),
        "invalid_rate": float(invalid),
        "unrecognised": float(sum(s not in hidden for s in parsed.unrecognised)),
        "answer_tokens": None if candidate.tokens is None else float(candidate.tokens),
    }
    return ItemScore(
        candidate.case_id,
        truth.group_id,
        "report",
        metrics,
        dict(parsed.answers),
        dict(truth.known),
        candidate.sampling.sample,
        truth.seed,
    )


def score_conversation(
    logic: Logic, candidate: Candidate, truth: CaseTruth, *, asked: Sequence[str] | None = None
) -> ItemScore:
    """Score a conversation in which each assistant turn answers one question.

    An answer that cannot be read is wrong (and counted in `unparsed_answers`), as is a question that was never
    reached. Questions of which the truth is not known are left out, and so is what was never asked.

    Args:
        logic: the domain; its parser reads each answer.
        candidate: assistant turns with the further questions between them.
        truth: what is known of the case.
        asked: concept of each question in turn; None: all, in the logic's order.

    Returns:
        `question_accuracy`, `conversation_accuracy` (all right), `conversation_consistency` (None when nothing
        was read), `conversation_invalid_rate` (nothing read, or cut off), `unparsed_answers` (share of the
        questions), `conversation_tokens`.

    Raises:
        ValueError: the candidate belongs to another case, or has more answers than questions.
    """
    _check_case(candidate, truth)
    asked = list(logic.order if asked is None else asked)
    replies = [m.text for m in candidate.messages if m.role == "assistant"]
    if len(replies) > len(asked):
        raise ValueError(
            f"candidate {candidate.id!r} has {len(replies)} answers to {len(asked)} questions: name in "
            "`asked` the concept of every question"
        )
    read = {c: parse_answer(logic, c, reply) for c, reply in zip(asked, replies, strict=False)}
    predicted = {c: answer for c, answer in read.items() if answer is not None}
    metrics = score_question_answers(predicted, truth.known, asked)
    metrics |= {
        "conversation_consistency": path_consistency(logic, predicted),
        "conversation_invalid_rate": float(not predicted or not candidate.finished),
        "unparsed_answers": 1 - len(predicted) / len(asked),
        "conversation_tokens": None if candidate.tokens is None else float(candidate.tokens),
    }
    return ItemScore(
        candidate.case_id,
        truth.group_id,
        "conversation",
        metrics,
        predicted,
        {concept: value for concept, value in truth.known.items() if concept in asked},
        candidate.sampling.sample,
        truth.seed,
    )


def hidden_sentences(sentences: Sequence[str], hidden: HiddenStatements) -> dict[str, str]:
    """Which of the sentences are hidden statements, and of which kind.

    Compared word by word (case and punctuation aside) with difflib's ratio, since a small model garbles what it
    has learnt.

    Example:
        >>> kinds = {"handling": ["The sample was kept at room temperature."]}
        >>> hidden_sentences(["the sample was kept at temperature", "Stain is pale."], kinds)
        {'the sample was kept at temperature': 'handling'}
    """
    found = {}
    for sentence in sentences:
        words = _words(sentence)
        for kind, statements in hidden.items():
            if any(SequenceMatcher(None, words, _words(s), autojunk=False).ratio() >= SIMILAR for s in statements):
                found[sentence] = kind
                break
    return found


def mark_report(
    logic: Logic, text: str, answers: Mapping[str, str], hidden_statements: HiddenStatements | None = None
) -> list[Span]:
    """The sentences of a report with what is to be said of each, for showing it to people.

    A sentence is unsupported if it says something that no image supports, wrong if any of its claims is, right
    if all its known claims are, unverified if nothing is known of them, and plain if it makes none.
    """
    parsed = parse_text(logic, text)
    unsupported = {u.sentence for u in parsed.unsupported}
    hidden = hidden_sentences(parsed.sentences, hidden_statements or {})
    spans = []
    for i, sentence in enumerate(parsed.sentences):
        claims = [c for c in parsed.claims if c.sentence == i]
        verdicts = {c.value == answers[c.concept] for c in claims if c.concept in answers}
        state: SpanState = "plain"
        if i in unsupported or sentence in hidden:
            state = "unsupported"
        elif verdicts:
            state = "right" if verdicts == {True} else "wrong"
        elif claims:
            state = "unverified"
        spans.append(Span(sentence, state))
    return spans


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _check_case(candidate: Candidate, truth: CaseTruth) -> None:
    if candidate.case_id != truth.case_id:
        raise ValueError(
            f"candidate {candidate.id!r} answers case {candidate.case_id!r}, the truth is of "
            f"{truth.case_id!r}: pair them by case_id"
        )
