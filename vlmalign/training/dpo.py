"""Direct preference optimisation: raise the chosen answer over the rejected one, relative to the start."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from vlmalign.data import CasePairs, Example, ExampleDataset, PairItem, collate, collate_pairs, pad_token
from vlmalign.losses import PairLoss, sft_loss
from vlmalign.models import batch_flops, forward_responses, save_vlm, sequence_logps
from vlmalign.records import Demonstration, Preference
from vlmalign.training.budget import steps_of
from vlmalign.training.config import DpoConfig
from vlmalign.training.examples import check_margins, evaluation_examples, training_examples
from vlmalign.training.order import AnchoredOrder, EpochOrder
from vlmalign.training.policy import feature_cache_of, load_policy
from vlmalign.training.preference_loss import PairScores
from vlmalign.training.reference import FILE, Reference, reference_of
from vlmalign.training.runs import RunFolder
from vlmalign.training.trainer import Batch, BatchLoss, StageTrainer


def train_dpo(config: DpoConfig, *, overwrite: bool = False) -> Path:
    """Align a model with preference pairs.

    The loss of a step is the mean over its pairs, each weighted, of the chosen loss of the DPO family, plus
    `sft_weight` times the chosen answer's mean token loss, plus `anchor_weight` times that of one
    demonstration per pair. The reference, where the loss needs one, is the policy as the stage began: its
    log-probabilities are computed once and kept in the run folder. A complete run is left as it is; a
    stopped one continues.

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
    pairs = CasePairs(training_examples(config, config.data, Preference, vlm), grouped=config.group_pairs)
    evaluated = evaluation_examples(config, Preference, vlm)
    held_out = None if evaluated is None else CasePairs(evaluated, grouped=config.group_pairs)
    anchors = training_examples(config, config.anchor_data, Demonstration, vlm) if config.anchor_data else None
    collator = partial(collate_with_anchors, pad_token_id=pad_token(vlm.processor))

    if config.loss.needs_margins:
        check_margins(f"loss {config.loss.name!r}", pairs.data, evaluated)

    # 3. The reference: before the first step, policy and reference are the same.
    run.begin()
    features = feature_cache_of(config, vlm.model)
    reference = None
    if config.loss.needs_reference:
        reference = reference_of(
            vlm.model,
            [pairs, *([held_out] if held_out else [])],
            run.path / FILE,
            collator=collator,
            batch_size=config.batch_size,
            autocast=config.dtype == "mixed",
            features=features,
        )
    spent = reference.flops if reference else 0.0

    # 4. The order of the data, and how long to train: the reference pass counts towards max_flops.
    dataset: Dataset[Any] = pairs
    order: EpochOrder | AnchoredOrder = EpochOrder(len(pairs), config.seed)
    if anchors is not None:
        dataset, order = AnchoredPairs(pairs, anchors), AnchoredOrder(len(pairs), len(anchors), config.seed)

    def cost(batch: Batch) -> float:
        batches = [batch["batch"], *([batch["anchor"]["batch"]] if "anchor" in batch else [])]
        return sum(batch_flops(vlm.model, part, training=True) for part in batches)

    steps = steps_of(config, order, dataset, collator, cost, spent=spent)

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
    return trainer.fit(lambda folder: save_vlm(vlm, folder), {"stage": "dpo", "flops": {"reference": spent}})


class DpoTrainer(StageTrainer):
    """A loss of pairs, with optional token losses beside it."""

    def __init__(self, *args: Any, reference: Reference | None, **kwargs: Any) -> None:
        self.reference = reference
        super().__init__(*args, **kwargs)

    def count_items(self, batch: Batch) -> Tensor | int:
        """Pairs."""
        return len(batch["ids"])

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """Sum over pairs, weighted."""
        config = self.run.config
        assert isinstance(config, DpoConfig)
        responses = batch["batch"]
        output = forward_responses(model, responses, features=self.features)
        assert output.logps is not None
        pairs = batch["pairs"].to(responses.response_ids.device)
        policy = sequence_logps(output, responses)[pairs]
        scores = PairScores(
            policy,
            self.reference.of(batch["ids"]).to(policy.device) if self.reference else None,
            responses.loss_mask.sum(1)[pairs],
            batch["margins"].to(policy.device),
        )
        result = config.loss.of(scores)
        losses = result.losses
        signals = _signals(result, scores)
        if config.sft_weight:
            chosen = sft_loss(output.logps[pairs[:, 0]], responses.loss_mask[pairs[:, 0]])
            losses = losses + config.sft_weight * chosen.losses
            signals["chosen_token_loss"] = (chosen.losses.sum(), len(losses))
        total = (losses * batch["weights"]).sum()
        if "anchor" in batch:
            anchor = batch["anchor"]
            logps = forward_responses(model, anchor["batch"], features=self.features).logps
            assert logps is not None
            kept = sft_loss(logps, anchor["batch"].loss_mask).losses
            total = total + config.anchor_weight * (kept * anchor["weights"]).sum()
            signals["anchor_token_loss"] = (kept.sum(), len(kept))
        return BatchLoss(total, signals)


@torch.no_grad()
def _signals(result: PairLoss, scores: PairScores) -> dict[str, Any]:
    """What to watch: `kl` is the mean of log(reference / policy) over the pairs' answers, in nats per answer.

    It estimates KL(reference || policy) as far as the answers were sampled from the reference.
    """
    n = len(scores.policy)
    signals = {
        "preference_loss": (result.losses.sum(), n),
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
