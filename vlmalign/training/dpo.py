"""Direct preference optimisation: raise the chosen answer over the rejected one, relative to the start."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from vlmalign.data import CasePairs, Example, ExampleDataset, PairItem, collate, collate_pairs, pad_token
from vlmalign.losses import PairLoss, sft_loss
from vlmalign.models import PromptBatch, batch_flops, forward_responses, save_vlm, sequence_logps
from vlmalign.records import Demonstration
from vlmalign.training.budget import steps_of
from vlmalign.training.config import DpoConfig
from vlmalign.training.examples import preference_pairs, training_examples
from vlmalign.training.listwise import mean_by, ranked_answers
from vlmalign.training.order import AnchoredOrder, EpochOrder
from vlmalign.training.policy import feature_cache_of, load_policy
from vlmalign.training.preference_loss import PairScores
from vlmalign.training.reference import Reference, reference_flops, reference_of
from vlmalign.training.runs import RunFolder
from vlmalign.training.shares import FILLER
from vlmalign.training.trainer import Batch, BatchLoss, StageTrainer


def train_dpo(config: DpoConfig, *, overwrite: bool = False) -> Path:
    """Align a model with preference pairs.

    The loss of a step is the mean over its pairs, each weighted, of the chosen loss of the DPO family, plus
    `sft_weight` times the chosen answer's mean token loss, plus `anchor_weight` times that of one
    demonstration per pair. With a listwise loss it is the mean over cases, each with the mean weight of its
    pairs, and the chosen answers are those that rank first. The reference, where the loss needs one, is the
    policy as the stage began: its log-probabilities are computed once and kept in the run folder, and with
    `reference_cache` for other runs too. A complete run is left as it is; a stopped one continues.

    Args:
        config: settings.
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; its `model` is what `from_pretrained` loads.

    Raises:
        DataError: a folder or record that cannot be trained on.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: a launch configuration that contradicts the settings.
    """
    # 1. The run folder: a complete run is not repeated.
    run = RunFolder("dpo", config, overwrite=overwrite)
    if run.finished:
        return run.path

    # 2. The starting model and the data.
    vlm = load_policy(config)
    pairs, held_out = preference_pairs(config, vlm)
    scored = [pairs, *([held_out] if held_out else [])]
    anchors = training_examples(config, config.anchor_data, Demonstration, vlm) if config.anchor_data else None
    collator = partial(collate_with_anchors, pad_token_id=pad_token(vlm.processor))

    # 3. The order of the data, and how long to train: the reference pass counts towards max_flops, and is counted
    #    before it is computed, so that a budget too small is refused before anything is written.
    dataset: Dataset[Any] = pairs
    order: EpochOrder | AnchoredOrder = EpochOrder(len(pairs), config.seed)
    if anchors is not None:
        dataset, order = AnchoredPairs(pairs, anchors), AnchoredOrder(len(pairs), len(anchors), config.seed)

    def cost(batch: Batch) -> float:
        batches = [batch["batch"], *([batch["anchor"]["batch"]] if "anchor" in batch else [])]
        return sum(batch_flops(vlm.model, part, training=True) for part in batches)

    spent = 0.0
    if config.loss.needs_reference and config.max_flops is not None:
        if run.continues and run.reference.exists():
            spent = Reference.load(run.reference).flops
        else:
            spent = reference_flops(vlm.model, scored, collator, config.batch_size)
    steps = steps_of(config, order, dataset, collator, cost, spent=spent)

    # 4. The reference: before the first step, policy and reference are the same.
    run.begin()
    features = feature_cache_of(config, vlm.model)
    reference = None
    if config.loss.needs_reference:
        reference = reference_of(
            vlm.model,
            scored,
            run.reference,
            collator=collator,
            batch_size=config.batch_size,
            autocast=config.dtype == "mixed",
            features=features,
            shared=config.reference_cache,
        )

    # 5. Train, save, close the run.
    trainer = DpoTrainer(
        run,
        vlm.model,
        reference=reference,
        steps=steps,
        dataset=dataset,
        order=order,
        collator=collator,
        cost=cost,
        eval_dataset=held_out,
        features=features,
    )
    summary = {"stage": "dpo", "flops": {"reference": reference.flops if reference else 0.0}}
    return trainer.fit(lambda folder: save_vlm(vlm, folder), summary)


class DpoTrainer(StageTrainer):
    """A loss of pairs, with optional token losses beside it."""

    def __init__(self, *args: Any, reference: Reference | None, **kwargs: Any) -> None:
        self.reference = reference
        super().__init__(*args, **kwargs)

    @property
    def settings(self) -> DpoConfig:
        """The run's configuration."""
        assert isinstance(self.run.config, DpoConfig)
        return self.run.config

    def count_items(self, batch: Batch) -> Tensor | int:
        """Pairs; cases where the loss is listwise."""
        return batch["batch"].n_prompts if self.settings.loss.listwise else len(batch["ids"])

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """Sum over pairs (or cases), weighted."""
        config = self.settings
        responses = batch["batch"]
        output = forward_responses(model, responses, features=self.features)
        assert output.logps is not None
        logps = sequence_logps(output, responses)
        rows = {name: batch[name].to(logps.device) for name in ("pairs", "ranks") if name in batch}
        scores = self._scores(logps, batch, **rows)
        result = config.loss.of(scores)
        losses = result.losses
        signals = _signals(result, scores)
        units = _units(responses, batch["weights"].to(logps.device), **rows)
        if config.sft_weight:
            chosen = sft_loss(output.logps[units.chosen], responses.loss_mask[units.chosen]).losses
            losses = losses + config.sft_weight * mean_by(chosen, units.unit, len(losses))
            signals["chosen_token_loss"] = (chosen.sum(), len(chosen))
        total = (losses * units.weights).sum()
        if "anchor" in batch:
            anchor = batch["anchor"]
            said = forward_responses(model, anchor["batch"], features=self.features).logps
            assert said is not None
            kept = sft_loss(said, anchor["batch"].loss_mask).losses
            total = total + config.anchor_weight * (kept * anchor["weights"]).sum()
            signals["anchor_token_loss"] = (kept.sum(), len(kept))
        return BatchLoss(total, signals)

    def _scores(self, logps: Tensor, batch: Batch, pairs: Tensor, ranks: Tensor | None = None) -> PairScores:
        """What is known of the batch's pairs, from the log-probabilities of its answers, (N,)."""
        responses, both = batch["batch"], pairs[:, :2]
        reference = self.reference.of(batch["ids"]).to(logps.device) if self.reference else None
        scores = PairScores(
            logps[both],
            None if reference is None else reference[:, :2],
            responses.loss_mask.sum(1)[both],
            batch["margins"].to(logps.device),
        )
        if reference is not None and pairs.shape[1] == 3:
            ratios = (logps[pairs[:, 2]] - reference[:, 2]).detach()
            own = torch.stack([ratios.sum(), ratios.new_tensor(len(ratios))]) * (not batch[FILLER])
            total, count = self.accelerator.reduce(own)  # one reference point for all processes
            scores = scores._replace(mismatched=(total / count)[None])
        if reference is not None and ranks is not None:
            places = (responses.prompt_index, responses.slots)
            scores = scores._replace(ranked=ranked_answers(logps, reference, both, ranks, *places))
        return scores


class _Units(NamedTuple):
    """What there is one loss of: a pair with its chosen answer, or a ranked case with those that rank first.

    Attributes:
        weights: of the U losses, (U,).
        chosen: rows of the chosen answers, (C,).
        unit: which loss each belongs to, (C,).
    """

    weights: Tensor
    chosen: Tensor
    unit: Tensor


def _units(responses: PromptBatch, weights: Tensor, pairs: Tensor, ranks: Tensor | None = None) -> _Units:
    if ranks is None:
        return _Units(weights, pairs[:, 0], torch.arange(len(pairs), device=pairs.device))
    first = (ranks == 1).nonzero().flatten()
    case_of = responses.prompt_index
    return _Units(mean_by(weights, case_of[pairs[:, 0]], responses.n_prompts), first, case_of[first])


@torch.no_grad()
def _signals(result: PairLoss, scores: PairScores) -> dict[str, Any]:
    """What to watch: `kl` is the mean of log(reference / policy) over the pairs' answers, in nats per answer.

    It estimates KL(reference || policy) as far as the answers were sampled from the reference. `z0` is KTO's
    reference point in nats: an estimate of KL(policy || reference) from mismatched answers, at least 0.
    """
    n = len(scores.policy)
    signals = {
        "preference_loss": (result.losses.sum(), len(result.losses)),
        "accuracy": ((result.margins > 0).sum(), n),
        "margin": (result.margins.sum(), n),
        "chosen_reward": (result.chosen_rewards.sum(), n),
        "rejected_reward": (result.rejected_rewards.sum(), n),
        "chosen_logp": (scores.policy[:, 0].sum(), n),
        "rejected_logp": (scores.policy[:, 1].sum(), n),
        "chosen_tokens": (scores.tokens[:, 0].sum(), n),
        "rejected_tokens": (scores.tokens[:, 1].sum(), n),
    }
    if scores.reference is not None:
        signals["kl"] = ((scores.reference - scores.policy).sum(), 2 * n)
    if scores.mismatched is not None:
        signals["z0"] = (scores.mismatched.mean().clamp(min=0) * n, n)
    return signals


class AnchoredPairs(Dataset[tuple[PairItem, Example]]):
    """Items of pairs, each read together with a demonstration."""

    def __init__(self, pairs: CasePairs, anchors: ExampleDataset[Demonstration]) -> None:
        self.pairs = pairs
        self.anchors = anchors

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: tuple[int, int]) -> tuple[PairItem, Example]:
        """Pair and demonstration."""
        return self.pairs[index[0]], self.anchors[index[1]]


def collate_with_anchors(items: list[Any], pad_token_id: int) -> Any:
    """A batch of pairs; where they come with demonstrations, those as a batch of their own under `anchor`."""
    if isinstance(items[0], PairItem):
        return collate_pairs(items, pad_token_id)
    pairs, anchors = zip(*items, strict=True)
    return {**collate_pairs(pairs, pad_token_id), "anchor": collate(anchors, pad_token_id)}
