"""Anchors: one fixed answer to each case, which rewards are differences to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from vlmalign.records import Candidate, Case, DataError, RecordFolder
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.belief import Belief
from vlmalign.rewards.protocol import RewardOutput

Believe = Callable[[Sequence[Case], Sequence[Candidate], Sequence[Sequence[Image.Image]]], tuple[Belief, float]]
Key = tuple[str, ...]  # a case and its pictures
WITHOUT = "no anchor: the folder of anchors has no answer to this case"


class Anchors:
    """The reference policy's greedy answers, by case.

    Args:
        folders: of candidates, one for each case: one folder, or several that answer different cases; `vlmalign
            generate MODEL CASES OUT --n 1 --temperature 0` makes one.

    Raises:
        DataError: two answers to one case, or one that was not greedy.
    """

    def __init__(self, folders: str | Path | Sequence[str | Path]) -> None:
        paths = [folders] if isinstance(folders, (str, Path)) else list(folders)
        opened = [RecordFolder(path, Candidate) for path in paths]
        self.sha256 = config_hash([answers.sha256 for answers in opened])
        self._answers: dict[str, Candidate] = {}
        for answers in opened:
            for answer in answers:
                self._add(answer, answers.path)
        self._beliefs: dict[Key, Belief] = {}

    def _add(self, answer: Candidate, path: Path) -> None:
        if answer.sampling.temperature != 0:
            raise DataError(
                f"the anchor was sampled at temperature {answer.sampling.temperature}: another draw would move "
                "all scores",
                "Generate anchors with temperature 0 and one sample.",
                file=path,
                record=answer.id,
                field="sampling",
            )
        if answer.case_id in self._answers:
            raise DataError(
                f"case {answer.case_id!r} has two anchors",
                "Keep one answer for each case.",
                file=path,
                record=answer.id,
                field="case_id",
            )
        self._answers[answer.case_id] = answer

    def beliefs(
        self, cases: Sequence[Case], images: Sequence[Sequence[Image.Image]], believe: Believe
    ) -> tuple[list[Belief | None], float]:
        """What a model holds possible of the anchor of each of N cases, None where there is none; and operations.

        Each case's anchor is computed when it is first asked for.
        """
        keys = [(case.id, *(image.sha256 for image in case.images)) for case in cases]
        new = {key: i for i, key in enumerate(keys) if key[0] in self._answers and key not in self._beliefs}
        flops = 0.0
        if new:
            places = list(new.values())
            found, flops = believe(
                [cases[i] for i in places],
                [self._answers[cases[i].id] for i in places],
                [images[i] for i in places],
            )
            self._beliefs |= {key: found.at([row]) for row, key in enumerate(new)}
        return [self._beliefs.get(key) for key in keys], flops


def anchored_output(belief: Belief, anchors: Sequence[Belief | None], flops: float) -> RewardOutput:
    """Differences to the anchors' rewards, with the standard deviation of the difference.

    Args:
        belief: of N candidates.
        anchors: of the N cases; None makes a candidate invalid.
        flops: operations that all of this took.
    """
    scores: list[float | None] = []
    stds: list[float] = []
    reasons: list[str | None] = []
    components: list[dict[str, float]] = []
    for row, anchor in enumerate(anchors):
        own = belief.at([row])
        if anchor is None:
            scores.append(None)
            reasons.append(WITHOUT)
            stds.append(math.nan)
            components.append({})
            continue
        difference = float(own.mean - anchor.mean)
        finite = math.isfinite(difference)
        scores.append(difference if finite else None)
        reasons.append(None if finite else "the model's score is not finite")
        stds.append(float(own.std_against(anchor)) if finite else math.nan)
        apart = (own.draws - anchor.draws)[0].tolist()
        members = {f"member_{k}": value for k, value in enumerate(apart)} if len(apart) > 1 else {}
        components.append({"anchor": float(anchor.mean), **members} if finite else {})
    return RewardOutput.of(scores, reasons=reasons, std=stds, components=components, flops=flops)
