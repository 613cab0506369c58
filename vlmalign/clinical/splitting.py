"""Cutting one sentence into clauses: where a new statement begins, and where a list goes on."""

from __future__ import annotations

from collections.abc import Iterator

from vlmalign.clinical.lexicon import Match

SUBJECTS = frozenset({"mention", "phrase", "term", "number"})
PREDICATES = frozenset({"verb", "have", "affirm", "deny_after"})


def split_clauses(matches: list[Match], tokens: list[str]) -> Iterator[list[Match]]:
    """Clauses of a sentence: at a break always, at a comma or `and` only where a new statement begins."""
    clause: list[Match] = []
    matches = _without_attributes(matches)
    for index, match in enumerate(matches):
        kind = match.entry.kind
        opens = (
            kind == "deny_before" and tokens[match.start] == "nor" or _doubts_what_follows(clause, matches[index:])
        )
        if (
            kind == "break"
            or opens
            or kind == "and"
            and _begins_anew(clause, matches[index + 1 :], tokens[match.start])
        ):
            yield clause
            clause = [match] if opens else []
        elif kind != "and":
            clause.append(match)
    yield clause


def _doubts_what_follows(left: list[Match], rest: list[Match]) -> bool:
    """Whether a doubt opens here: of "an opacity, likely atelectasis" only the second noun is in doubt."""
    settled = ("uncertain", "not_assessed", "deny_before")  # "no opacity to suggest pneumonia" denies both
    if rest[0].entry.kind != "uncertain_after" or any(m.entry.kind in settled for m in left):
        return False
    ends = next((i for i, m in enumerate(rest) if m.entry.kind == "break"), len(rest))
    return _names(left) and _names(rest[:ends])


def _names(matches: list[Match]) -> bool:
    return any(m.entry.kind in ("mention", "phrase") for m in matches)


def _is_stated(left: list[Match]) -> bool:
    """Whether what was denied last, or else the first noun, has its predicate already.

    "The lungs are inflated without opacity" goes on denying at a comma, "no opacity is seen" does not.
    """
    denials = [i for i, m in enumerate(left) if m.entry.kind == "deny_before"]
    for start in (*denials[-1:], 0):
        subject = next((i for i, m in enumerate(left) if i >= start and m.entry.kind in SUBJECTS), None)
        if subject is not None:
            return any(m.entry.kind in PREDICATES for m in left[subject + 1 :])
    return False


def _without_attributes(matches: list[Match]) -> list[Match]:
    """Without the "visible" of "no opacity, visible effusion or fracture", which is no predicate."""
    kept: list[Match] = []
    for index, match in enumerate(matches):
        after = matches[index + 1] if index + 1 < len(matches) else None
        before_noun = after is not None and after.start == match.end and after.entry.kind in SUBJECTS
        stated = bool(kept) and kept[-1].entry.kind in ("verb", "have") and kept[-1].end == match.start
        denied = any(m.entry.kind == "deny_before" for m in kept)
        if not (match.entry.kind == "affirm" and before_noun and denied and not stated):
            kept.append(match)
    return kept


def _begins_anew(left: list[Match], rest: list[Match], link: str) -> bool:
    right: list[Match] = []
    for match in rest:
        if match.entry.kind in ("and", "break"):
            break
        right.append(match)
    if not any(m.entry.kind in SUBJECTS for m in left):
        return False
    if _is_stated(left):
        return True
    if not any(m.entry.kind in SUBJECTS for m in right):
        return False
    right_states = any(m.entry.kind in PREDICATES for m in right)
    left_states = any(m.entry.kind in PREDICATES or m.entry.kind == "exist" for m in left)
    opens = right[0].entry.kind in ("deny_before", "uncertain", "uncertain_after")
    if link == "or" and not opens and any(m.entry.kind == "deny_before" for m in left):
        return False  # "there is no opacity or effusion seen" is one denial
    if link == "and" and right[0].entry.kind == "exist" and right_states:
        return True  # "no effusion and a nodule is seen"
    # "no leukocyte, many platelets": the quality is a value of the new noun, so the denial has ended; the side
    # or size of a finding that is listed ("no opacity, large effusion or fracture") does not end it
    values = {concept for m in right if m.entry.kind == "term" for concept, _ in m.entry.readings}
    listed = link == "," and any(m.entry.kind == "mention" and m.entry.concept in values for m in right)
    return opens or left_states and right_states or listed
