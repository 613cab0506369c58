"""States of answers that a stopped run has computed already, so that the next one does not compute them again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.records.writing import write_atomic
from vlmalign.rewards.answer_encoder import AnswerEncoder, EncodedAnswers


class KeptStates:
    """An encoder that keeps each batch's states in a file of its own, until they are forgotten.

    A batch is known by all that its states come from: the model, and what its answers and prompts say and show. So
    a killed run loses one batch, and what it goes on with has the same bits.

    Args:
        encoder: what computes states.
        folder: where the files are.
        model: name of the model's weights and of how they compute, e.g. their hash.
    """

    def __init__(self, encoder: AnswerEncoder, folder: Path, model: str) -> None:
        self._encoder, self._folder, self._model = encoder, folder, model

    def encode(
        self, cases: Sequence[Case], candidates: Sequence[Candidate], images: Sequence[Sequence[Image.Image]]
    ) -> EncodedAnswers:
        """As `AnswerEncoder.encode`; `images` are those that the cases name by their hashes."""
        read = [
            (case.model_dump(mode="json", include={"messages", "images"}), answer.model_dump(mode="json"))
            for case, answer in zip(cases, candidates, strict=True)
        ]
        file = self._folder / f"{config_hash([self._model, read])}.safetensors"
        found = _read(file)
        if found is None:
            found = self._encoder.encode(cases, candidates, images)
            rest = {"rest": json.dumps([found.questions, found.flops])}  # one entry: several are in no order
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(file, save({"answers": found.answers, "prompts": found.prompts}, rest))
        return found

    def forget(self) -> None:
        """Delete what is kept."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(file: Path) -> EncodedAnswers | None:
    """What a file holds; None where there is none, or a damaged one."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as kept:
            questions, flops = json.loads(kept.metadata()["rest"])
            return EncodedAnswers(kept.get_tensor("answers"), kept.get_tensor("prompts"), tuple(questions), flops)
    except SafetensorError:
        return None
