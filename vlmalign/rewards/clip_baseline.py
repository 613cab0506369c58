"""What an answer is held against in a CLIP reward: fixed prompts, or what would be so if its claims were not."""

from __future__ import annotations

from collections.abc import Sequence

from vlmalign.clinical import Logic, ParsedText, load_logic, render_sentence
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.claim_reward import parse_candidate

NEGATION = "negation"
NO_CLAIM = "no claim to negate"


class ClipBaseline:
    """Baseline prompts of a candidate.

    Args:
        baseline: fixed prompts, "negation", or None for none.
        logic: name or path of a clinical logic; with a negation, and only then.

    Raises:
        ValueError: settings that do not go together, or prompts that are no list of texts.
    """

    def __init__(self, baseline: Sequence[str] | str | None, logic: str | None) -> None:
        if isinstance(baseline, str) and baseline != NEGATION:
            raise ValueError(f"baseline is {baseline!r}, expected a list of prompts or {NEGATION!r}: write [...].")
        self.negation = baseline == NEGATION
        if self.negation == (logic is None):
            raise ValueError(
                f"baseline is {NEGATION!r} and logic is not given: name the clinical logic of the answers."
                if self.negation
                else f"logic is {logic!r} and baseline is not {NEGATION!r}: drop logic, or set baseline."
            )
        self._logic = None if logic is None else load_logic(logic)
        self.prompts = () if self.negation or baseline is None else prompt_list("baseline", baseline)

    @property
    def given(self) -> bool:
        """Whether there is one."""
        return self.negation or bool(self.prompts)

    @property
    def settings(self) -> list[object]:
        """What decides the prompts, for a hash."""
        whole = None if self._logic is None else config_hash(self._logic.model_dump(mode="json"))
        return [list(self.prompts), whole]

    def of(self, case: Case, candidate: Candidate) -> tuple[tuple[str, ...], str | None]:
        """The prompts for a candidate, or why there are none that should be."""
        if self._logic is None:
            return self.prompts, None
        prompts = negated_claims(self._logic, parse_candidate(self._logic, case, candidate))
        return prompts, None if prompts else NO_CLAIM


def negated_claims(logic: Logic, parsed: ParsedText) -> tuple[str, ...]:
    """What the claims of a text deny: for each, a sentence for every other value of its concept.

    Hedged claims ("cannot be assessed") deny nothing.

    Example:
        >>> from vlmalign.clinical import parse_text
        >>> logic = load_logic("peripheral_smear")
        >>> negated_claims(logic, parse_text(logic, "No leukocyte is seen. Lovely weather."))
        ('The field contains a leukocyte.',)
    """
    said: dict[str, set[str]] = {}
    for claim in parsed.claims:
        if claim.value in logic.concepts[claim.concept].values:
            said.setdefault(claim.concept, set()).add(claim.value)
    return tuple(
        render_sentence(logic, concept, value, seed=0)
        for concept, values in said.items()
        for value in logic.concepts[concept].values
        if value not in values
    )


def prompt_list(name: str, given: object) -> tuple[str, ...]:
    """Prompts from settings.

    Raises:
        ValueError: no list, an empty one, or an empty text in it.
    """
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f"{name} is {given!r}, expected a list of prompts: write [one, another].")
    texts = tuple(text.strip() if isinstance(text, str) else "" for text in given)
    if not all(texts):
        raise ValueError(f"{name} is {given!r}, expected texts that are not empty: correct it.")
    return texts
