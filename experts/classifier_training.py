"""Training a classification expert on a Case folder with present and absent findings."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from experts.checkpoints import is_complete, load_newest, save_epoch, take_folder
from experts.classification import ARCHITECTURE, ClassificationExpert, ClassifierSettings, build_classifier
from experts.classifier_config import ClassifierConfig
from experts.classifier_metrics import classifier_metrics
from experts.expert_files import CARD, load_weights, write_expert
from experts.labelled import UNKNOWN, LabelledImages, load_labelled
from experts.pixel_baseline import pixel_baseline, tiny_pictures
from experts.preparation import Preparation, prepare
from experts.protocol import ExpertCard, Metric, OperatingPoint
from experts.segmentation import weight_bytes
from experts.targets import split_groups
from experts.thresholds import choose_threshold
from experts.training import learning_rate
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.manifest import write_atomic
from vlmalign.records.progress import progress_bar

SHIFT, ZOOM, LIGHT = 0.1, 0.1, 0.2
Parts = tuple[list[int], list[int], list[int]]


@dataclass
class Fit:
    """What training changes, for one member after the other."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    best_loss: float = math.inf
    epoch: int = 0
    member: int = 0
    done: list[dict[str, Tensor]] = field(default_factory=list)


def train_classifier(
    cases_folder: str | Path, out: str | Path, *, config: ClassifierConfig | None = None, overwrite: bool = False
) -> Path:
    """Train a classifier from random weights; continues from the newest complete epoch when it was stopped.

    Groups are divided into three: the networks learn on the first; best epoch, temperature and thresholds are
    chosen on the second; the card's numbers come from the third alone, with a logistic regression on 16 x 16 grey
    pixels beside them. Uncertain and unassessed findings are left out of the loss, concept by concept.

    Args:
        cases_folder: Case folder whose reference findings are present or absent.
        out: the expert's folder.
        config: settings.
        overwrite: discard a run with other settings.

    Returns:
        The expert's folder, for `load_expert` and `run_expert`.

    Raises:
        DataError: no usable finding, a concept of one status only in a part, or `out` holds something else.
        ValueError: fewer than three groups, or a network that timm does not have.
    """
    config = config or ClassifierConfig()
    out = Path(out)
    settings = _settings(config, ("unknown",), 1.0, {})
    build_classifier(settings)  # refuses a wrong name before anything is written
    run = {
        "architecture": ARCHITECTURE,
        "config": config.model_dump(mode="json"),
        "cases_sha256": RecordFolder(cases_folder, Case).sha256,
    }
    if is_complete(out, run, done=CARD, overwrite=overwrite):
        return out
    data = load_labelled(cases_folder, config.concepts)
    shares = (config.choice_share, config.held_out_share)
    groups = split_groups(data.groups, shares, derive_seed(config.seed, "split"))
    parts: Parts = tuple(data.of_groups(part) for part in groups)  # type: ignore[assignment]  # three of them
    _check_parts(data, parts)
    take_folder(out, run, done=CARD, overwrite=overwrite)
    fit = _fit(config, data, parts, out)
    for number, weights in enumerate(fit.done):
        fit.network.load_state_dict(weights)
        write_atomic(out / _weight_name(number), weight_bytes(fit.network))
    return _finish(config, data, parts, groups[0] | groups[1], out)


def _weight_name(number: int) -> str:
    return f"weights-{number}.safetensors"


def _settings(
    config: ClassifierConfig, concepts: tuple[str, ...], temperature: float, thresholds: dict[str, float]
) -> ClassifierSettings:
    channels = cast(Literal[1, 3], config.channels)
    return ClassifierSettings(
        network=config.network,
        classes=concepts,
        kind="multi_label",
        weights=tuple(_weight_name(number) for number in range(config.members)),
        preparation=Preparation(size=config.size, channels=channels, mean=(0.5,), std=(0.25,)),
        temperature=temperature,
        thresholds=thresholds,
        laterality_matters=config.laterality_matters,
    )


def _check_parts(data: LabelledImages, parts: Parts) -> None:
    """Each concept has both statuses in each part; where one has not, those that have are named."""
    found = {
        (concept, name): set(data.truth[part, k].tolist()) - {UNKNOWN}
        for k, concept in enumerate(data.concepts)
        for name, part in zip(("training", "choice", "held-out"), parts, strict=True)
    }
    lacking = {place: known for place, known in found.items() if known != {0, 1}}
    for (concept, name), known in lacking.items():
        have = {0: "absent", 1: "present"}
        usable = [c for c in data.concepts if all(c != of for of, _ in lacking)]
        rest = f"leave it out (concepts=[{','.join(usable)}] all have both), " if usable else ""
        raise DataError(
            f"in the {name} groups {concept!r} is {' and '.join(have[i] for i in known) or 'unknown'} only",
            f"Give more groups, {rest}or choose another seed.",
            file=data.folder.path,
            field="reference.findings",
        )


def _load(data: LabelledImages, places: Sequence[int], preparation: Preparation) -> Tensor:
    return torch.stack([prepare(image, preparation) for image in data.images(places)])


def masked_loss(logits: Tensor, truth: Tensor, positive_weight: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over the known labels; positives weigh `positive_weight`.

    Args:
        logits: (B, K).
        truth: (B, K) 1, 0, or -1 for unknown.
        positive_weight: (K,).

    Example:
        >>> masked_loss(torch.zeros(1, 2), torch.tensor([[1, -1]]), torch.ones(2))
        tensor(0.6931)
    """
    known = (truth != UNKNOWN).float()
    loss = functional.binary_cross_entropy_with_logits(
        logits, truth.clamp(min=0).float(), pos_weight=positive_weight, reduction="none"
    )
    return (loss * known).sum() / known.sum().clamp(min=1)


def vary(images: Tensor, generator: torch.Generator, *, mirror: bool) -> Tensor:
    """Shift, zoom, change light and contrast of (B, C, H, W), and mirror half of them where that is allowed.

    Example:
        >>> vary(torch.rand(2, 1, 8, 8), torch.Generator().manual_seed(0), mirror=False).shape
        torch.Size([2, 1, 8, 8])
    """
    n = len(images)

    def jitter(width: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=generator) * 2 - 1) * width

    zoom = 1 + jitter(ZOOM, 1)
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = zoom[:, 0]
    affine[:, :, 2] = jitter(2 * SHIFT, 2)
    if mirror:
        affine[:, 0] *= 1 - 2 * (torch.rand(n, 1, generator=generator) < 0.5).float()
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    mean = moved.mean((1, 2, 3), keepdim=True)
    return (moved - mean) * (1 + jitter(LIGHT, 1, 1, 1)) + mean + jitter(LIGHT, 1, 1, 1)


def _fit(config: ClassifierConfig, data: LabelledImages, parts: Parts, out: Path) -> Fit:
    preparation = _settings(config, data.concepts, 1.0, {}).preparation
    x, y = _load(data, parts[0], preparation), torch.from_numpy(data.truth[parts[0]]).long()
    choice = _load(data, parts[1], preparation), torch.from_numpy(data.truth[parts[1]]).long()
    positives, negatives = (y == 1).sum(0).float(), (y == 0).sum(0).float()
    weight = negatives / positives
    fit = _resume(config, data.concepts, out)
    total = config.members * config.epochs
    with progress_bar("Training the classifier", total, fit.member * config.epochs + fit.epoch) as show:
        while fit.member < config.members:
            _epoch(config, fit, x, y, weight)
            loss = _choice_loss(fit.network, *choice, config.batch_size)
            if loss < fit.best_loss:
                fit.best_loss, fit.best = loss, copy.deepcopy(fit.network.state_dict())
            if fit.epoch == config.epochs:
                done = [*fit.done, fit.best]
                fit = _start(config, data.concepts, fit.member + 1)
                fit.done = done
            save_epoch(out, fit.member * config.epochs + fit.epoch, _pack(fit))
            show(fit.member * config.epochs + fit.epoch, f"loss {loss:.3f}")
    return fit


def _epoch(config: ClassifierConfig, fit: Fit, x: Tensor, y: Tensor, weight: Tensor) -> None:
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "epoch", fit.member, fit.epoch))
    batches = [b for b in torch.randperm(len(x), generator=generator).split(config.batch_size) if len(b) > 1]
    fit.network.train()
    with torch.random.fork_rng():  # dropout draws from the global generator
        torch.manual_seed(derive_seed(config.seed, "dropout", fit.member, fit.epoch))
        for step, batch in enumerate(batches):
            progress = (fit.epoch + step / len(batches)) / config.epochs
            for group in fit.optimiser.param_groups:
                group["lr"] = learning_rate(progress, config.learning_rate)
            images = x[batch]
            if config.augment:
                images = vary(images, generator, mirror=not config.laterality_matters)
            loss = masked_loss(fit.network(images), y[batch], weight)
            fit.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(fit.network.parameters(), 1.0)
            fit.optimiser.step()
    fit.epoch += 1


@torch.inference_mode()
def _choice_loss(network: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    network.eval()
    logits = torch.cat([network(batch) for batch in x.split(batch_size)])
    return float(masked_loss(logits, y, torch.ones(y.shape[1])))


def _start(config: ClassifierConfig, concepts: tuple[str, ...], member: int) -> Fit:
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(config.seed, "weights", member))
        network = build_classifier(_settings(config, concepts, 1.0, {}))
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return Fit(network, optimiser, copy.deepcopy(network.state_dict()), member=member)


def _resume(config: ClassifierConfig, concepts: tuple[str, ...], out: Path) -> Fit:
    saved = load_newest(out)
    fit = _start(config, concepts, saved["member"] if saved else 0)
    if saved:
        fit.network.load_state_dict(saved["network"])
        fit.optimiser.load_state_dict(saved["optimiser"])
        fit.best, fit.best_loss = saved["best"], saved["best_loss"]
        fit.epoch, fit.done = saved["epoch"], saved["done"]
    return fit


def _pack(fit: Fit) -> dict[str, object]:
    return {
        "network": fit.network.state_dict(),
        "optimiser": fit.optimiser.state_dict(),
        "best": fit.best,
        "best_loss": fit.best_loss,
        "epoch": fit.epoch,
        "member": fit.member,
        "done": fit.done,
    }


def fit_temperature(logits: Tensor, truth: NDArray[np.int8]) -> float:
    """The temperature in 0.05..20 under which the mean of the members' sigmoids has the least cross-entropy.

    Args:
        logits: (M, N, K).
        truth: (N, K) 1, 0, or -1 for unknown.

    Example:
        >>> logits = torch.tensor([[[4.0], [4.0], [4.0], [4.0]]])  # sigmoid(4 / T) should be 3/4
        >>> round(fit_temperature(logits, np.array([[1], [1], [1], [0]], dtype=np.int8)), 3)
        3.641
    """
    known = truth != UNKNOWN
    y = truth[known].astype(float)

    def loss(log_temperature: float) -> float:
        p = (logits.double() / math.exp(log_temperature)).sigmoid().mean(0).numpy()[known].clip(1e-12, 1 - 1e-12)
        return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return round(math.exp(float(found.x)), 6)


def _finish(config: ClassifierConfig, data: LabelledImages, parts: Parts, seen: set[str], out: Path) -> Path:
    settings = _settings(config, data.concepts, 1.0, {})
    networks = [load_weights(build_classifier(settings), out / name) for name in settings.weights]
    card = ExpertCard(
        name=config.name,
        version="unset",
        architecture=ARCHITECTURE,
        modality=data.modality,
        domain=data.domain,
        concepts=data.concepts,
        training_data=(data.sha256,),
        training_groups=tuple(sorted(seen)),
        limits=_limits(config, data),
    )
    logits = ClassificationExpert(networks, card, settings).logits(list(data.images(parts[1])))
    temperature = fit_temperature(logits, data.truth[parts[1]])
    points = _points(config, data, parts[1], (logits / temperature).double().sigmoid().mean(0).numpy().round(6))
    thresholds = {point.concept: point.threshold for point in points}
    settings = _settings(config, data.concepts, temperature, thresholds)
    expert = ClassificationExpert(networks, card, settings)
    performance = _performance(expert, data, parts)
    card = card.model_copy(update={"operating_points": points, "performance": performance})
    return write_expert(out, card, settings, settings.weights)


def _points(
    config: ClassifierConfig, data: LabelledImages, places: list[int], probabilities: NDArray[np.float64]
) -> tuple[OperatingPoint, ...]:
    points = []
    for k, concept in enumerate(data.concepts):
        known = data.truth[places, k] != UNKNOWN
        groups = [data.groups[i] for i, here in zip(places, known, strict=True) if here]
        truth = data.truth[places, k][known] == 1
        points.append(
            choose_threshold(
                probabilities[known, k],
                truth,
                groups,
                concept=concept,
                rule=config.threshold_rule,
                seed=config.seed,
            )
        )
    return tuple(points)


def _performance(expert: ClassificationExpert, data: LabelledImages, parts: Parts) -> tuple[Metric, ...]:
    found = expert.examine(list(data.images(parts[2])))
    train, test = (tiny_pictures(data.images(part)) for part in (parts[0], parts[2]))
    metrics: list[Metric] = []
    for k, concept in enumerate(data.concepts):
        known, learnt = data.truth[parts[2], k] != UNKNOWN, data.truth[parts[0], k] != UNKNOWN
        metrics += classifier_metrics(
            [seen.presences[concept].probability for seen, here in zip(found, known, strict=True) if here],
            data.truth[parts[2], k][known] == 1,
            [data.groups[i] for i, here in zip(parts[2], known, strict=True) if here],
            concept=concept,
            threshold=expert.settings.thresholds[concept],
            baseline=pixel_baseline(train[learnt], data.truth[parts[0], k][learnt], test[known]),
        )
    return tuple(metrics)


def _limits(config: ClassifierConfig, data: LabelledImages) -> tuple[str, ...]:
    limits = [
        f"Assesses {', '.join(data.concepts)} only; it cannot tell an image of another kind from one of these.",
        "Compare its AUROC with pixel_baseline_auroc: what 16 x 16 pixels tell is no sign of understanding.",
        f"Thresholds follow {config.threshold_rule} on the choice groups, at their share of positives.",
    ]
    unknown = {name: n for name, n in data.unknown.items() if n}
    if unknown:
        told = ", ".join(f"{name} in {n} images" for name, n in sorted(unknown.items()))
        limits.append(f"Uncertain or unassessed, and left out: {told}.")
    return tuple(limits)
