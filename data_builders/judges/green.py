"""Errors of a report against its reference, in the way of GREEN (Ostmeier et al. 2024, arXiv:2405.03595)."""

from __future__ import annotations

from collections.abc import Mapping

from data_builders.judges.asking import Ask, JudgeAnswer, JudgeItem
from data_builders.judges.error_counts import CATEGORIES, ErrorCounts, read_error_counts
from data_builders.judges.pairwise import together
from data_builders.judges.pointwise import answer_id
from data_builders.judges.reading import Unread, judge_name, provenance, read_reply, untrusted_texts
from data_builders.judges.showing import Showing
from vlmalign.records import Judgement

CRITERION = "green"


class Green(Showing):
    """Matched findings over matched findings and clinically significant errors.

    score = matched / (matched + sum of significant errors over six categories), in [0, 1] (equation 1 there).
    Components: `matched`, `significant`, `insignificant`, each category as `significant_false_finding` ...,
    `length_ratio` = words(candidate) / words(reference), and `length_controlled` = score / max(length_ratio, 1)
    (CheXalign). Without a reference text nothing is asked (state `no_reference`); a report with neither a match
    nor a significant error has no score (`undefined`), where GREEN says 0.
    """

    template: str = "green"
    images: bool = False
    reference: bool = True
    max_tokens: int = 1024

    @property
    def id(self) -> str:
        """Name and version."""
        return "green@1"

    @property
    def criterion(self) -> str:
        """Of the judgements."""
        return CRITERION

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Judge each answer by each model alone; see `JudgeProtocol.judge`."""
        tasks = [self._score(item, answer, model, ask) for model, ask in jury.items() for answer in item.answers]
        return await together(tasks)

    async def _score(self, item: JudgeItem, answer: JudgeAnswer, model: str, ask: Ask) -> Judgement:
        given: dict[str, object] = {}
        if not (item.reference or "").split():
            read: ErrorCounts | Unread = Unread("no_reference", "the case has no reference text")
        else:
            categories = [(c.letter, c.name, c.about) for c in CATEGORIES]
            request = self.request(item, [answer], values={"categories": categories})
            reply = await ask(request)
            shown = [*untrusted_texts(item, [answer]), item.reference or ""]
            read = read_reply(reply, shown, read_error_counts)
            given = {"critique": reply.text or None, "extra": provenance(self, request, reply)}
        if not isinstance(read, Unread):
            parts = green_components(read, _words(answer), len((item.reference or "").split()))
            read = (
                Unread("undefined", "no finding is matched and no significant error counted")
                if not parts
                else read
            )
        if isinstance(read, Unread):
            given |= {"valid": False, "invalid_reason": read.reason}
        else:
            given |= {"score": parts.pop("green"), "components": parts}
        return Judgement(
            id=answer_id(item, answer, judge_name(model, self.id)),
            case_id=item.case_id,
            candidate_ids=(answer.id,),
            criterion=CRITERION,
            judge=judge_name(model, self.id),
            **given,  # type: ignore[arg-type]
        )


def green_components(counts: ErrorCounts, words: int, reference_words: int) -> dict[str, float]:
    """The score `green` and its parts; empty where the score is undefined, 0 / 0.

    Args:
        counts: of errors and matched findings.
        words: of the candidate.
        reference_words: of the reference, at least 1.

    Example:
        >>> six = {c.name: 0 for c in CATEGORIES}
        >>> found = green_components(ErrorCounts({**six, "missing finding": 1}, six, 3), 20, 10)
        >>> found["green"], found["length_controlled"]
        (0.75, 0.375)
    """
    significant = sum(counts.significant.values())
    if counts.matched + significant == 0:
        return {}
    score = counts.matched / (counts.matched + significant)
    ratio = words / reference_words
    each = {
        f"{kind}_{name.replace(' ', '_')}": float(n)
        for kind, by_name in (("significant", counts.significant), ("insignificant", counts.insignificant))
        for name, n in by_name.items()
    }
    return {
        "green": score,
        "matched": float(counts.matched),
        "significant": float(significant),
        "insignificant": float(sum(counts.insignificant.values())),
        **each,
        "length_ratio": ratio,
        "length_controlled": score / max(ratio, 1.0),
    }


def _words(answer: JudgeAnswer) -> int:
    return sum(len(turn.text.split()) for turn in answer.messages if turn.role == "assistant")
