"""Turns of a conversation scored by where they lead: the share of sampled endings that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlmalign.clinical import parse_conversation
from vlmalign.clinical.schema import HEDGED, RESERVED
from vlmalign.records import Candidate, Case, Message
from vlmalign.records.hashing import config_hash, derive_seed
from vlmalign.rewards.completion import Completed, PolicyCompletion, Unfinished
from vlmalign.rewards.logic_turns import claim_source
from vlmalign.rewards.protocol import experts_behind
from vlmalign.rewards.turns import Turn, TurnScores, conversation, turn_places


class RolloutTurns:
    """Soft estimate of a step (Math-Shepherd, Wang et al. 2024, arXiv:2312.08935, equation 4): of n endings that a
    policy samples after the turn, the share that conclude rightly.

    The user's further questions are asked as they were. An ending is right when every final concept that is known
    of the case is said, with its true value. An ending that the token limit cut, or that leaves a final concept
    unsaid or hedged, is unread: it is in no share and is counted, and a turn all of whose endings are unread has
    no score. The last turn ends the conversation itself: its score is 1 or 0.

    Args:
        policy: folder of the model that samples, or what finishes conversations itself.
        logic: name or path of a clinical logic.
        findings: folders of an expert's findings; default the reference of the case.
        targets: the final concepts; default those that the logic derives from others, its impression.
        n: endings per turn.
        seed: of sampling.
        min_probability: what a finding's best value needs to count as known.
        sampling: settings of `PolicyCompletion`.

    Raises:
        ValueError: no endings, or no final concept.
    """

    needs_images = True

    def __init__(
        self,
        policy: str | Path | Completed,
        logic: str,
        *,
        findings: str | Path | Sequence[str | Path] | None = None,
        targets: Sequence[str] | None = None,
        n: int = 8,
        seed: int = 0,
        min_probability: float = 0.8,
        sampling: Mapping[str, Any] | None = None,
    ) -> None:
        if n < 1:
            raise ValueError(f"n is {n}, expected at least 1 ending per turn: raise it.")
        self._claims = claim_source(logic, findings, targets, min_probability)
        self.targets = tuple(self._claims.logic.derived_concepts if targets is None else targets)
        if not self.targets:
            raise ValueError(f"logic {logic!r} derives no concept: name the final ones with targets.")
        for target in self.targets:
            self._claims.logic.concept(target)
        if isinstance(policy, (str, Path)):
            self.completion: Completed = PolicyCompletion(policy, **(sampling or {}))
        elif sampling:
            raise ValueError("sampling is given and policy is made already: give its folder, or drop sampling")
        else:
            self.completion = policy
        self.n, self.seed = n, seed
        self.experts = experts_behind(self._claims)
        decides = [self._claims.name, self.completion.name, list(self.targets), n, seed]
        self.name = f"rollouts@{config_hash(decides)[:8]}"

    def score_turns(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> TurnScores:
        """Score the turns of N candidates; components: `rollouts` sampled, and how many are `unread_rollouts`."""
        if images is None:
            raise ValueError("images is None: a policy looks at the images, give those of every case")
        wanted = [self._wanted(case) for case in cases]
        asked: list[Unfinished] = []
        for case, candidate, known, shown in zip(cases, candidates, wanted, images, strict=True):
            if known:  # endings that cannot be judged are not sampled
                asked += self._unfinished(case, candidate, shown)
        found, flops = self.completion.complete(asked) if asked else ([], 0.0)
        ends = iter(zip(asked, found, strict=True))
        turns, components = [], []
        for case, candidate, known in zip(cases, candidates, wanted, strict=True):
            places = turn_places(candidate)
            if not known:
                reason = f"nothing final is known of the case ({', '.join(self.targets)})"
                turns.append([Turn(None, reason)] * len(places))
                components.append({"rollouts": 0.0, "unread_rollouts": 0.0})
                continue
            own = [next(ends) for _ in places[:-1]]
            right = [self._right(unfinished, endings, known) for unfinished, endings in own]
            last = self._reached(conversation(case, candidate), known)
            turns.append([*(_share(each) for each in right), _share([last])])
            every = [one for each in right for one in each]
            components.append({"rollouts": float(len(every)), "unread_rollouts": float(every.count(None))})
        return TurnScores(turns, components, flops)

    def _wanted(self, case: Case) -> dict[str, str]:
        known = self._claims.known(case).answers
        return {name: known[name] for name in self.targets if known.get(name, "uncertain") not in RESERVED}

    def _unfinished(self, case: Case, candidate: Candidate, images: Sequence[Image.Image]) -> list[Unfinished]:
        """What is to be finished after every turn but the last."""
        talk, places = conversation(case, candidate), turn_places(candidate)
        begins = len(talk) - len(candidate.messages)
        between = [candidate.messages[a + 1 : b] for a, b in zip(places, places[1:], strict=False)]
        for messages in between:
            if [message.role for message in messages] != ["user"]:
                raise ValueError(
                    f"candidate {candidate.id!r} has {[m.role for m in messages]} between two answers, expected "
                    "one user turn: leave it out."
                )
        questions = [messages[0].text for messages in between]
        return [
            Unfinished(
                record=candidate.id,
                messages=talk[: begins + place + 2],
                follow_ups=tuple(questions[number + 1 :]),
                images=images,
                seeds=tuple(derive_seed(self.seed, candidate.id, number, i) for i in range(self.n)),
            )
            for number, place in enumerate(places[:-1])
        ]

    def _right(
        self, begun: Unfinished, endings: Sequence[tuple[Message, ...] | None], known: Mapping[str, str]
    ) -> list[bool | None]:
        return [None if end is None else self._reached((*begun.messages, *end), known) for end in endings]

    def _reached(self, talk: Sequence[Message], known: Mapping[str, str]) -> bool | None:
        """Whether a conversation says the final concepts rightly; None where it leaves one open."""
        said = parse_conversation(self._claims.logic, talk).answers
        values = {name: said.get(name) for name in known}
        if any(value is None or value in HEDGED for value in values.values()):
            return None
        return values == dict(known)


def _share(right: Sequence[bool | None]) -> Turn:
    read = [one for one in right if one is not None]
    if not read:
        return Turn(None, "no ending says the final concepts")
    return Turn(sum(read) / len(read), None)
