"""Training a segmentation expert on a Case folder."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from experts.augmentation import augment
from experts.checkpoints import is_complete, load_newest, save_epoch, take_folder
from experts.config import ExpertConfig
from experts.measurement import Scale, fit_scale
from experts.performance import examine_fields, metrics_of
from experts.protocol import Examination, ExpertCard
from experts.segmentation import (
    ARCHITECTURE,
    CARD,
    SegmentationExpert,
    SegmentationSettings,
    build_network,
    concepts_of,
    most_likely,
    save_expert,
    weight_version,
)
from experts.targets import Target, TargetSet, load_targets, split_groups
from experts.uncertainty import residual_floor
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.progress import progress_bar

BOX_SMOOTHING = 0.1


@dataclass
class State:
    """What training changes."""

    network: torch.nn.Module
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    best_score: float = -1.0
    epoch: int = 0
    seconds: float = 0.0


def train_expert(
    cases_folder: str | Path, out: str | Path, *, config: ExpertConfig | None = None, overwrite: bool = False
) -> Path:
    """Train a segmentation expert; continues from the newest complete epoch when it was stopped.

    Groups are divided into three: the network learns on the first, the best epoch is chosen on the second,
    and the card's numbers come from the third alone.

    Args:
        cases_folder: Case folder with findings `<structure>_count` that carry masks or boxes.
        out: the expert's folder.
        config: settings.
        overwrite: discard a run with other settings.

    Returns:
        The expert's folder, for `load_expert` and `run_expert`.

    Raises:
        DataError: the cases have no usable regions, or `out` holds something else.
        ValueError: fewer than three groups, or a structure that no training case shows.
    """
    config = config or ExpertConfig()
    out = Path(out)
    data_sha256 = RecordFolder(cases_folder, Case).sha256
    settings = {"config": config.model_dump(mode="json"), "cases_sha256": data_sha256}
    if is_complete(out, settings, done=CARD, overwrite=overwrite):
        return out
    data = load_targets(cases_folder, limit=config.size)
    shares = (config.choice_share, config.held_out_share)
    parts = split_groups([f.group for f in data.fields], shares, derive_seed(config.seed, "split"))
    learn, choose, held_out = ([f for f in data.fields if f.group in part] for part in parts)
    scales = _fit_scales(data, learn, cases_folder)
    take_folder(out, settings, done=CARD, overwrite=overwrite)
    state = _fit_network(config, data, learn, choose, out)
    state.network.load_state_dict(state.best)
    expert = SegmentationExpert(
        state.network,
        ExpertCard(
            name=config.name,
            version=weight_version(state.network),
            architecture=ARCHITECTURE,
            modality=data.modality,
            domain=data.domain,
            structures=data.structures,
            concepts=concepts_of(data.structures),
            training_data=(data.sha256,),
            training_groups=tuple(sorted(parts[0] | parts[1])),
            limits=_limits(data),
        ),
        SegmentationSettings(network=config.network, size=config.size, scales=scales),
    )
    return save_expert(_with_performance(expert, choose, held_out), out)


def _fit_scales(data: TargetSet, fields: Sequence[Target], folder: str | Path) -> dict[str, Scale]:
    scales = {}
    for k, structure in enumerate(data.structures, start=1):
        try:
            scales[structure] = fit_scale([f.labels == k for f in fields], [f.counts[k - 1] for f in fields])
        except ValueError as error:
            raise DataError(
                f"{structure}: {error}", "Add cases that show it, or drop its findings.", file=folder
            ) from None
    return scales


def to_tensors(fields: Sequence[Target], multiple: int) -> tuple[Tensor, Tensor]:
    """All fields on one square canvas: images (N, 3, S, S) and labels (N, S, S), both uint8.

    S is the longest side, rounded up to `multiple`. What is missing is mirrored, image and labels alike,
    so that there is no border that a network could learn.

    Example:
        >>> target = Target(np.zeros((5, 8, 3), np.uint8), np.zeros((5, 8), np.uint8), (0,), "a")
        >>> [tuple(part.shape) for part in to_tensors([target], 4)]
        [(1, 3, 8, 8), (1, 8, 8)]
    """
    side = max(max(field.labels.shape) for field in fields)
    side += -side % multiple
    images, labels = [], []
    for field in fields:
        bottom, right = side - field.labels.shape[0], side - field.labels.shape[1]
        images.append(np.pad(field.image, ((0, bottom), (0, right), (0, 0)), mode="symmetric").transpose(2, 0, 1))
        labels.append(np.pad(field.labels, ((0, bottom), (0, right)), mode="symmetric"))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up over the first tenth, then half a cosine down to a hundredth of the peak.

    Example:
        >>> [round(learning_rate(p, 1.0), 3) for p in (0.0, 0.1, 0.55, 1.0)]
        [0.01, 1.0, 0.505, 0.01]
    """
    if progress < 0.1:
        return peak * (0.01 + 0.99 * progress / 0.1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min((progress - 0.1) / 0.9, 1.0))))


def _fit_network(
    config: ExpertConfig, data: TargetSet, learn: Sequence[Target], choose: Sequence[Target], out: Path
) -> State:
    multiple = 2 ** (len(config.network.channels) - 1)
    images, labels = to_tensors(learn, multiple)
    choice = to_tensors(choose, multiple)
    state = _start(config, len(data.structures), out)
    smoothing = config.label_smoothing
    if smoothing is None:
        smoothing = BOX_SMOOTHING if data.boxes_only else 0.0
    loss = DiceCELoss(
        to_onehot_y=True, softmax=True, batch=True, include_background=False, label_smoothing=smoothing
    )
    budget = math.inf if config.minutes is None else 60 * config.minutes
    shown = torch.tensor([[count > 0 for count in field.counts] for field in learn])
    steps = math.ceil(len(epoch_order(shown, config.least_share, torch.Generator())) / config.batch_size)
    with progress_bar("Training the expert", config.epochs, state.epoch) as show:
        while state.epoch < config.epochs and state.seconds < budget:
            started, before = time.monotonic(), state.seconds
            generator = torch.Generator().manual_seed(derive_seed(config.seed, "epoch", state.epoch))
            total = 0.0
            order = epoch_order(shown, config.least_share, generator)
            for step, batch in enumerate(order.split(config.batch_size)):
                progress = max((state.epoch + step / steps) / config.epochs, state.seconds / budget)
                rate = learning_rate(progress, config.learning_rate)
                x, y = images[batch].float() / 255, labels[batch].long()
                if config.augment:
                    x, y = augment(x, y, generator)
                total += _step(state, loss, x, y, rate)
                state.seconds = before + time.monotonic() - started
                show(state.epoch + (step + 1) / steps, f"loss {total / (step + 1):.3f}")
            _finish_epoch(state, choice, len(data.structures), config.batch_size)
            state.seconds = before + time.monotonic() - started
            save_epoch(out, state.epoch, _pack(state))
    return state


def epoch_order(shown: Tensor, least_share: float, generator: torch.Generator) -> Tensor:
    """Indices of the fields of one epoch: all of them, those with a rare structure several times, shuffled.

    Args:
        shown: whether field i shows structure k, (N, K) bool.
        least_share: each structure that is shown at all is repeated until so large a share of the N fields is
            reached; 0 repeats nothing. Repeats are spread evenly over its fields.
        generator: of the order.

    Example:
        >>> shown = torch.tensor([[True], [False], [False], [False]])
        >>> sorted(epoch_order(shown, 0.5, torch.Generator()).tolist())
        [0, 0, 1, 2, 3]
    """
    n = len(shown)
    index = [torch.arange(n)]
    for structure in range(shown.shape[1]):
        fields = shown[:, structure].nonzero().flatten()
        missing = math.ceil(least_share * n) - len(fields)
        if len(fields) and missing > 0:
            index.append(fields[torch.arange(missing) % len(fields)])
    order = torch.cat(index)
    return order[torch.randperm(len(order), generator=generator)]


def _step(state: State, loss: torch.nn.Module, x: Tensor, y: Tensor, rate: float) -> float:
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.network.train()
    value = loss(state.network(x.contiguous(memory_format=torch.channels_last)), y[:, None])
    state.optimiser.zero_grad()
    value.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimiser.step()
    return float(value.detach())


def _finish_epoch(state: State, choice: tuple[Tensor, Tensor], n_structures: int, batch_size: int) -> None:
    state.epoch += 1
    score = mean_dice(state.network, *choice, n_structures, batch_size)
    if score > state.best_score:
        state.best_score = score
        state.best = copy.deepcopy(state.network.state_dict())


@torch.inference_mode()
def mean_dice(
    network: torch.nn.Module, images: Tensor, labels: Tensor, n_structures: int, batch_size: int
) -> float:
    """Dice pooled over images, averaged over the structures that occur in truth or prediction.

    Args:
        network: in evaluation mode afterwards.
        images: (N, 3, S, S) uint8.
        labels: (N, S, S) uint8.
        n_structures: S classes besides the background.
        batch_size: images a forward pass.
    """
    network.eval()
    top, bottom = torch.zeros(n_structures), torch.zeros(n_structures)
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        predicted = most_likely(network((x.float() / 255).contiguous(memory_format=torch.channels_last)))
        for k in range(n_structures):
            mine, theirs = predicted == k + 1, y == k + 1
            top[k] += 2 * (mine & theirs).sum()
            bottom[k] += mine.sum() + theirs.sum()
    there = bottom > 0
    return float((top[there] / bottom[there]).mean()) if there.any() else 0.0


def _start(config: ExpertConfig, n_structures: int, out: Path) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(config.seed, "weights"))
        network = build_network(config.network, n_structures)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    state = State(network, optimiser, copy.deepcopy(network.state_dict()))
    saved = load_newest(out)
    if saved is not None:
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        state.best, state.best_score = saved["best"], saved["best_score"]
        state.epoch, state.seconds = saved["epoch"], saved["seconds"]
    return state


def _pack(state: State) -> dict[str, object]:
    return {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "best": state.best,
        "best_score": state.best_score,
        "epoch": state.epoch,
        "seconds": state.seconds,
    }


def _with_performance(
    expert: SegmentationExpert, choose: Sequence[Target], held_out: Sequence[Target]
) -> SegmentationExpert:
    """Set the floors of the standard deviations from the choice groups, and the card's numbers from the others."""
    structures = expert.card.structures
    floors: dict[str, float] = {}
    seen = examine_fields(expert, choose)
    for k, structure in enumerate(structures, start=1):
        floors[f"{structure}_count"] = _floor(seen, f"{structure}_count", [f.counts[k - 1] for f in choose])
        covers = [float((f.labels == k).mean()) for f in choose]
        floors[f"{structure}_cover"] = _floor(seen, f"{structure}_cover", covers)
    settings = expert.settings.model_copy(update={"floors": floors})
    measured = SegmentationExpert(expert.network, expert.card, settings)
    performance = metrics_of(examine_fields(measured, held_out), structures, held_out)
    card = expert.card.model_copy(update={"performance": performance})
    return SegmentationExpert(expert.network, card, settings)


def _floor(seen: Sequence[Examination], concept: str, truth: Sequence[float]) -> float:
    found = [examination.measurements[concept] for examination in seen]
    return residual_floor([m.value - t for m, t in zip(found, truth, strict=True)], [m.std for m in found])


def _limits(data: TargetSet) -> tuple[str, ...]:
    limits = [
        f"Assesses {', '.join(data.structures)} only; it cannot tell an image of another kind from one of these.",
        "The probability of presence is the share of eight flips and turns that see the structure.",
    ]
    if data.boxes_only:
        limits.append(
            "Learnt from boxes: outlines are ellipses, covers are coarse, cells nobody marked count as none."
        )
    if data.left_out:
        limits.append(f"{data.left_out} images with a structure uncertain or not assessed were left out.")
    return tuple(limits)
