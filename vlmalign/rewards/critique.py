"""A critique model as a reward: it writes critiques of an answer, and the answer is scored after each."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from vlmalign.data.collation import collate, pad_token
from vlmalign.data.critique import REQUEST_VERSION, encode_judged
from vlmalign.data.encode import EncodedResponse, candidate_prompt, encode_response
from vlmalign.models.critique_model import CritiqueModel
from vlmalign.models.loading import model_folder
from vlmalign.records import Candidate, Case, DataError, Preference, RecordFolder
from vlmalign.records.hashing import config_hash
from vlmalign.records.scores import SIDES, side_id
from vlmalign.rewards.critique_writing import EMPTY, REASONS, UNREADABLE, CritiqueWriter, WrittenCritique
from vlmalign.rewards.language_model import chosen_device, weights_hashes
from vlmalign.rewards.prompt_groups import shared_prompts
from vlmalign.rewards.protocol import MarginOutput, RewardOutput, beside_each_other, check_aligned

NOT_GIVEN = "no critique of it is given"


@dataclass
class _Judged:
    """An answer with its critiques and the score after each, None where there is none."""

    critiques: list[WrittenCritique]
    scores: list[float | None]
    refused: str | None = None

    @property
    def known(self) -> list[float]:
        return [score for score in self.scores if score is not None]


class CritiqueReward:
    """Scores of a critique model that `train_critique` made.

    An answer's score is the mean over its critiques, its standard deviation their spread: that of a single
    critique's score (n - 1 in the denominator), not of the mean. In a pair it is that of the differences, the k-th
    critique of one answer with the k-th of the other. A critique that is cut or empty is not scored; an answer
    without any is invalid. In MM-RLHF averaging sampled critiques did worse than one greedy one, which is the
    default here.

    Args:
        run: the run folder, or the `model` folder inside.
        n: critiques of each answer; one is greedy by default.
        temperature: see `CritiqueWriter`.
        seed: see `CritiqueWriter`.
        max_new_tokens: see `CritiqueWriter`.
        given: folder of pairs whose critiques are used instead of the model's own. This shows what perfect
            critiques would be worth; it is no score that can be had of a new answer.
        blank_images: show a grey picture instead of the case's images.
        batch_size: candidates whose critiques are written and scored together.
        device: where it runs; "auto": the accelerator, if there is one.

    Raises:
        ValueError: the folder holds no critique model, or one of another request; settings out of range.
    """

    needs_images = True

    def __init__(
        self,
        run: str | Path,
        *,
        n: int = 1,
        temperature: float | None = None,
        seed: int = 0,
        max_new_tokens: int = 256,
        given: str | Path | None = None,
        blank_images: bool = False,
        batch_size: int = 16,
        device: str = "auto",
    ) -> None:
        device = chosen_device(device)
        folder = Path(model_folder(run))
        self.model = load_critic(folder, device=device)
        self.writer = CritiqueWriter(self.model, n, temperature, seed, max_new_tokens, blank_images)
        self.batch_size, self.device = batch_size, device
        self._stops = self.model.vlm.stop_tokens
        self._given = None if given is None else _given_critiques(given, n)
        told = [n, temperature, seed, max_new_tokens, None if given is None else given_hash(given)]
        digest = config_hash([weights_hashes(folder), told])[:8]
        self.name = f"critique@{digest}" + ("-given" if given is not None else "") + ("-blank" * blank_images)

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`.

        Components: `critique_k`, the score after the k-th critique, and how many were `critiques_valid`,
        `critiques_cut`, `critiques_empty`, `critiques_unreadable`. The critique that is given back is the one
        whose score is the median (of an even number, the lower one of the middle two).

        Raises:
            ValueError: no images.
        """
        judged, flops = self._judge(cases, candidates, images)
        return _output(judged, flops)

    def score_margins(
        self,
        cases: Sequence[Case],
        firsts: Sequence[Candidate],
        seconds: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> MarginOutput:
        """Score N pairs, with the spread of each pair's difference over critiques; see `MarginReward`."""
        judged, flops = self._judge(*beside_each_other(cases, firsts, seconds, images))
        pairs = list(zip(judged[::2], judged[1::2], strict=True))
        return MarginOutput(
            _output(judged[::2], flops),
            _output(judged[1::2], 0.0),
            tuple(_spread(_differences(first, second)) for first, second in pairs),
        )

    def _judge(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None,
    ) -> tuple[list[_Judged], float]:
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError("images is None: a critique reward looks at the images, give those of every case")
        judged: list[_Judged] = []
        flops = 0.0
        for start in range(0, len(cases), self.batch_size):
            part = slice(start, start + self.batch_size)
            found, cost = self._judge_batch(cases[part], candidates[part], images[part])
            judged += found
            flops += cost
        return judged, flops

    def _judge_batch(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> tuple[list[_Judged], float]:
        judged = [_Judged([], [], self._refusal(c, a)) for c, a in zip(cases, candidates, strict=True)]
        rows = [i for i, each in enumerate(judged) if each.refused is None]
        flops = self._criticise(judged, rows, cases, candidates, images)
        responses = {i: self._encode(cases[i], candidates[i], judged[i]) for i in rows}
        places = [(i, k) for i in rows for k, response in enumerate(responses[i]) if response is not None]
        rows = sorted({i for i, _ in places})
        if not rows:
            return judged, flops
        kept = iter([[r for r in responses[i] if r is not None] for i in rows])
        examples = shared_prompts(
            self.model.processor,
            [cases[i] for i in rows],
            [candidates[i] for i in rows],
            [images[i] for i in rows],
            lambda case, candidate: next(kept),
            blank=self.writer.blank_images,
        )
        batch = collate(list(examples), pad_token(self.model.processor))["batch"].to(self.device)
        with torch.no_grad():
            values = self.model(batch, mode="cached", logps=False).outputs.flatten().tolist()
        for (i, k), value in zip(places, values, strict=True):
            judged[i].scores[k] = value if math.isfinite(value) else None
        return judged, flops + self.model.flops(batch, training=False, mode="cached")

    def _criticise(
        self,
        judged: list[_Judged],
        rows: Sequence[int],
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> float:
        """Give some of the answers their critiques; returns the operations that it took."""
        flops = 0.0
        if self._given is not None:
            texts = [self._given[candidates[i].id] for i in rows]
            found = [[WrittenCritique(text, None if text.strip() else EMPTY)] for text in texts]
        elif rows:
            found, flops = self.writer.write(
                [cases[i] for i in rows], [candidates[i] for i in rows], [images[i] for i in rows]
            )
        else:
            found = []
        for i, critiques in zip(rows, found, strict=True):
            judged[i] = _Judged(critiques, [None] * len(critiques))
        return flops

    def _refusal(self, case: Case, candidate: Candidate) -> str | None:
        """Why an answer can have no critique: none is given, or it breaks out of its turn."""
        if self._given is not None and candidate.id not in self._given:
            return NOT_GIVEN
        prompt = candidate_prompt(case, candidate)
        try:
            encode_response(
                self.model.processor, prompt, candidate.messages, record=candidate.id, stops=self._stops
            )
        except DataError as error:
            return f"the answer cannot be judged: {error}"
        return None

    def _encode(self, case: Case, candidate: Candidate, judged: _Judged) -> list[EncodedResponse | None]:
        """Each critique after its answer; one that breaks out of its turn is marked as unreadable."""
        prompt = candidate_prompt(case, candidate)
        encoded: list[EncodedResponse | None] = []
        for k, critique in enumerate(judged.critiques):
            try:
                encoded.append(
                    None
                    if critique.fault
                    else encode_judged(
                        self.model.processor, prompt, candidate.messages, critique.text, record=candidate.id,
                        stops=self._stops,
                    )
                )  # fmt: skip
            except DataError:
                judged.critiques[k] = WrittenCritique(critique.text, UNREADABLE)
                encoded.append(None)
        return encoded


def load_critic(folder: Path, *, device: str = "cpu") -> CritiqueModel:
    """A critique model that answers the request of this version.

    Raises:
        ValueError: it answers another one, or the folder holds none.
    """
    model = CritiqueModel.load(folder, device=device)
    if model.request != REQUEST_VERSION:
        raise ValueError(
            f"{folder} answers the request {model.request!r}, and this version asks {REQUEST_VERSION!r}: train "
            "the model again."
        )
    return model


def given_hash(pairs: str | Path) -> str:
    """Hash of a folder of pairs."""
    return RecordFolder(pairs, Preference).sha256


def _given_critiques(folder: str | Path, n: int) -> dict[str, str]:
    """Critiques of pairs, by the ids that `score_pairs` gives to their sides."""
    if n != 1:
        raise ValueError(f"n is {n} and each answer is given one critique: drop n, or given.")
    found = {}
    for pair in RecordFolder(folder, Preference):
        for side in SIDES:
            critique = getattr(pair, f"{side}_critique")
            if critique is not None:
                found[side_id(pair.id, side)] = critique
    return found


def _output(judged: Sequence[_Judged], flops: float) -> RewardOutput:
    scores = [statistics.fmean(each.known) if each.known else None for each in judged]
    return RewardOutput.of(
        scores,
        reasons=[None if each.known else _reason(each) for each in judged],
        std=[_spread(each.known) for each in judged],
        components=[_components(each) for each in judged],
        critiques=[_median_critique(each) for each in judged],
        flops=flops,
    )


def _components(judged: _Judged) -> dict[str, float]:
    faults = Counter(critique.fault for critique in judged.critiques)
    scores = {f"critique_{k}": score for k, score in enumerate(judged.scores) if score is not None}
    counts = {f"critiques_{fault}": float(faults[fault]) for fault in REASONS}
    return {**scores, "critiques_valid": float(len(judged.known)), **counts}


def _reason(judged: _Judged) -> str:
    if judged.refused is not None:
        return judged.refused
    faults = Counter(critique.fault for critique in judged.critiques)
    told = [f"{faults[fault]} {words}" for fault, words in REASONS.items() if faults[fault]]
    if faults[None]:
        told.append(f"{faults[None]} with a score that is not finite")
    return f"no critique could be scored: {', '.join(told)}"


def _median_critique(judged: _Judged) -> str | None:
    ranked = sorted((score, k) for k, score in enumerate(judged.scores) if score is not None)
    return judged.critiques[ranked[(len(ranked) - 1) // 2][1]].text if ranked else None


def _differences(first: _Judged, second: _Judged) -> list[float]:
    """Of the k-th critiques of both, where both are scored."""
    both = zip(first.scores, second.scores, strict=False)
    return [a - b for a, b in both if a is not None and b is not None]


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan
