"""Turns of a conversation scored by clinical logic, one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from vlmalign.clinical import is_consistent, parse_conversation, verify
from vlmalign.records import Candidate, Case, Message
from vlmalign.rewards.claim_reward import ClaimReward, KnownAnswers
from vlmalign.rewards.expert_verified import ExpertVerifiedReward
from vlmalign.rewards.protocol import experts_behind
from vlmalign.rewards.symbolic import SymbolicReward
from vlmalign.rewards.turns import Turn, TurnScores, conversation


def claim_source(
    logic: str,
    findings: str | Path | Sequence[str | Path] | None,
    concepts: Sequence[str] | None,
    min_probability: float,
) -> ClaimReward:
    """What is known of a case: what an expert found on its images, or, without findings, its reference."""
    if findings is None:
        return SymbolicReward(logic, concepts=concepts, min_probability=min_probability)
    return ExpertVerifiedReward(logic, findings, concepts=concepts, min_probability=min_probability)


class LogicTurns:
    """Share of a turn's checkable statements that are right.

    With c correct and w wrong claims of the turn, read as an answer to the question before it, and u statements
    that no image supports, the score is c / (c + w + u). Where the truth of none of its claims is known, logic
    alone decides: a turn that no valid path agrees with any more, though one did before it, has 0. All else cannot
    be scored: the turn claims nothing, hedges, or speaks of what nobody knows. What a turn leaves out costs
    nothing; a later turn may say it.

    Args:
        logic: name or path of a clinical logic.
        findings: folders of an expert's findings to hold claims against; default the reference of the case.
        concepts: only these are compared; default all.
        min_probability: what a finding's best value needs to count as known.
    """

    needs_images = False

    def __init__(
        self,
        logic: str,
        *,
        findings: str | Path | Sequence[str | Path] | None = None,
        concepts: Sequence[str] | None = None,
        min_probability: float = 0.8,
    ) -> None:
        self._claims = claim_source(logic, findings, concepts, min_probability)
        self.name = f"logic:{self._claims.name}"
        self.experts = experts_behind(self._claims)

    def score_turns(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> TurnScores:
        """Score the turns of N candidates; components `correct`, `wrong`, `unsupported` and `breaks` are sums."""
        rows = [self._one(case, candidate) for case, candidate in zip(cases, candidates, strict=True)]
        return TurnScores([turns for turns, _ in rows], [counts for _, counts in rows])

    def _one(self, case: Case, candidate: Candidate) -> tuple[list[Turn], Mapping[str, float]]:
        known = self._claims.known(case)
        talk = conversation(case, candidate)
        turns: list[Turn] = []
        counts: Counter[str] = Counter(correct=0, wrong=0, unsupported=0, breaks=0)
        for place in range(len(talk) - len(candidate.messages), len(talk)):
            if talk[place].role == "assistant":
                turns.append(self._turn(talk[: place + 1], known, counts))
        return turns, {name: float(n) for name, n in counts.items()}

    def _turn(self, talk: Sequence[Message], known: KnownAnswers, counts: Counter[str]) -> Turn:
        """The score of the last turn of a conversation."""
        logic = self._claims.logic
        question = next((message for message in reversed(talk) if message.role == "user"), None)
        parsed = parse_conversation(logic, [*([question] if question else []), talk[-1]])
        found = verify(logic, parsed, known.answers, concepts=self._claims.concepts)
        before, now = (parse_conversation(logic, part).answers for part in (talk[:-1], talk))
        breaks = bool(parsed.claims) and is_consistent(logic, before) and not is_consistent(logic, now)
        c, w, u = len(found.correct), len(found.wrong), len(found.unsupported)
        counts.update(correct=c, wrong=w, unsupported=u, breaks=int(breaks))
        if c + w + u:
            return Turn(c / (c + w + u), None)
        if breaks:
            return Turn(0.0, None)
        return Turn(None, known.unmet if found.parsed else "no claim parsed")
