"""A small LLaVA whose vision tower learnt from masks: the first half of the built-in starting checkpoint.

A real project begins with a tower trained on millions of pictures. Where nothing may be downloaded, dense
targets stand in for it: every patch token must tell which share of its patch each structure covers, and the
mean token must tell the image's categories (focus, stain ...). Dense targets teach a tower of this size in
minutes what captions do not in hours: a caption is one number for 64 patches. The heads are thrown away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm
from transformers import get_cosine_schedule_with_warmup

from vlmalign.models import build_tiny_llava, save_vlm
from vlmalign.models.loading import backbone_of
from vlmalign.records import Case, DataError, Demonstration, RecordFolder, load_image
from vlmalign.records.hashing import config_hash
from vlmalign.records.manifest import write_atomic
from vlmalign.records.progress import is_interactive

IGNORED = -100
CATEGORY_WEIGHT = 0.3


class TowerConfig(BaseModel):
    """Settings of the model and of its tower's training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(min_length=1, description="Case folder whose findings carry masks and categories")
    corpus: tuple[str, ...] = Field(
        min_length=1, description="Demonstration folders: the tokenizer learns their words"
    )
    out: str = Field(min_length=1, description="folder to write; its `model` is what from_pretrained loads")
    seed: int = Field(0, ge=0)
    image_size: int = Field(96, ge=8, description="px")
    patch_size: int = Field(12, ge=2, description="px; divides image_size")
    hidden: int = Field(128, ge=8, description="width of the language model")
    layers: int = Field(3, ge=1, description="depth of the language model")
    vision_hidden: int = Field(128, ge=8)
    vision_layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    vocab_size: int = Field(640, ge=300)
    steps: int = Field(3000, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    jitter: float = Field(0.08, ge=0, lt=1, description="random brightness, contrast and colour, as a share")


class DenseData(NamedTuple):
    """M images with their targets.

    Attributes:
        pixels: (M, 3, S, S) uint8.
        labels: (M, S, S) uint8, 0 background.
        categories: (M, Q) long, IGNORED where a category is not known.
        classes: the values of each of the Q categories.
        structures: L, the largest label.
    """

    pixels: Tensor
    labels: Tensor
    categories: Tensor
    classes: dict[str, list[str]]
    structures: int


def pretrain_tower(config: TowerConfig) -> Path:
    """Build a small LLaVA and train its vision tower; nothing is done where the folder is complete.

    Loss: binary cross-entropy of the share of each structure per patch, divided by what always answering the
    structure's mean share would cost, so that small and rare structures count as much as large ones; plus 0.3
    times the cross-entropy of each category. Images are mirrored and turned, so a category that these change (a
    side) cannot be learnt. A run that was killed starts again.

    Raises:
        DataError: no case has a mask.
        FileExistsError: the folder holds a model of other settings.
    """
    out, digest = Path(config.out), config_hash(config.model_dump(mode="json", exclude={"out"}))
    summary = out / "summary.json"
    if summary.is_file():
        if json.loads(summary.read_text())["config_sha256"] != digest:
            raise FileExistsError(f"{out} holds a model of other settings. Choose another `out`.")
        return out
    vlm = build_tiny_llava(
        _words(config.corpus), image_size=config.image_size, patch_size=config.patch_size, hidden=config.hidden,
        layers=config.layers, vision_hidden=config.vision_hidden, vision_layers=config.vision_layers,
        heads=config.heads, vocab_size=config.vocab_size, seed=config.seed,
    )  # fmt: skip
    data = read_dense_data(config.data, config.image_size)
    figures = train_tower(backbone_of(vlm.model).vision_tower, data, config)
    shutil.rmtree(out, ignore_errors=True)
    save_vlm(vlm, out / "model")
    text = json.dumps({"config_sha256": digest, "config": config.model_dump(mode="json"), **figures}, indent=2)
    write_atomic(summary, (text + "\n").encode())
    return out


def _words(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        for record in RecordFolder(folder, Demonstration):
            yield from (turn.text for turn in (*record.prompt, *record.response))


def read_dense_data(folder: str | Path, size: int) -> DenseData:
    """Images, label masks and categories of a Case folder, resized to `size`.

    Raises:
        DataError: no case has a mask.
    """
    opened = RecordFolder(folder, Case)
    images, masks, named = [], [], []
    for case in opened:
        findings = case.reference.findings if case.reference else ()
        mask = next((f.region.mask for f in findings if f.region and f.region.mask), None)
        if mask is None:
            continue
        images.append(np.asarray(opened.image(case.images[0]).convert("RGB").resize((size, size))))
        masks.append(np.asarray(load_image(opened.resolve(mask)).convert("L").resize((size, size), 0)))
        named.append({f.concept: f.value for f in findings if isinstance(f.value, str)})
    if not masks:
        raise DataError("no case has a mask", "Use a source with masks, e.g. smear.", file=opened.path)
    concepts = sorted({concept for row in named for concept in row})
    classes = {c: sorted({row[c] for row in named if c in row}) for c in concepts}
    categories = [[classes[c].index(row[c]) if c in row else IGNORED for c in concepts] for row in named]
    labels = torch.from_numpy(np.stack(masks))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return DenseData(pixels, labels, torch.tensor(categories, dtype=torch.long), classes, int(labels.max()))


def patch_shares(labels: Tensor, structures: int, patch: int) -> Tensor:
    """Share of each patch that each structure covers, (B, N, L) for labels (B, S, S) and N patches.

    Example:
        >>> patch_shares(torch.tensor([[[1, 1], [0, 2]]], dtype=torch.uint8), structures=2, patch=2)
        tensor([[[0.5000, 0.2500]]])
    """
    planes = functional.one_hot(labels.long(), structures + 1)[..., 1:].permute(0, 3, 1, 2).float()
    return functional.avg_pool2d(planes, patch).flatten(2).transpose(1, 2)


def patch_losses(logits: Tensor, shares: Tensor, prior: Tensor) -> Tensor:
    """Cross-entropy of each structure's shares over that of always answering its mean share, (L,).

    1 is no better than knowing how much there is on average. Shares between 0 and 1 keep it above 0.

    Args:
        logits: (B, N, L).
        shares: what is true, (B, N, L) in 0..1.
        prior: mean share of each structure over the data, (L,), strictly between 0 and 1.

    Example:
        >>> prior = torch.tensor([0.25])
        >>> shares = torch.tensor([0.0, 0.0, 0.5, 0.5]).view(1, 4, 1)
        >>> patch_losses(torch.logit(prior).expand(1, 4, 1), shares, prior)
        tensor([1.])
    """
    found = functional.binary_cross_entropy_with_logits(logits, shares, reduction="none").mean((0, 1))
    return found / functional.binary_cross_entropy(prior, prior, reduction="none")


def train_tower(tower: nn.Module, data: DenseData, config: TowerConfig) -> dict[str, Any]:
    """Train a vision tower in place; returns the last losses, smoothed."""
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        dense = nn.Linear(config.vision_hidden, data.structures)
        heads = nn.ModuleList(nn.Linear(config.vision_hidden, len(values)) for values in data.classes.values())
    parameters = [*tower.parameters(), *dense.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimiser, config.steps // 30, config.steps)
    counted = torch.bincount(data.labels.flatten().long(), minlength=data.structures + 1)
    prior = (counted[1:] / counted.sum()).clamp(min=1e-6)
    smooth: dict[str, float] = {}
    tower.train()
    for _ in tqdm(range(config.steps), desc="tower", unit="step", disable=not is_interactive()):
        index = torch.randint(len(data.pixels), (config.batch_size,), generator=generator)
        pixels, labels = _augment(data.pixels[index].float() / 127.5 - 1, data.labels[index], config, generator)
        tokens = tower(pixel_values=pixels).last_hidden_state[:, 1:]
        shares = patch_shares(labels, data.structures, config.patch_size)
        by_structure = patch_losses(dense(tokens), shares, prior)
        losses = {f"structure_{i + 1}": loss for i, loss in enumerate(by_structure)}
        pooled = tokens.mean(1)
        for i, (name, head) in enumerate(zip(data.classes, heads, strict=True)):
            target = data.categories[index, i]
            if (target != IGNORED).any():
                losses[name] = CATEGORY_WEIGHT * functional.cross_entropy(
                    head(pooled), target, ignore_index=IGNORED
                )
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        for name, loss in losses.items():
            smooth[name] = 0.98 * smooth.get(name, loss.item()) + 0.02 * loss.item()
    tower.eval()
    return {"losses": {name: round(value, 4) for name, value in smooth.items()}, "images": len(data.pixels)}


def _augment(
    pixels: Tensor, labels: Tensor, config: TowerConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The batch mirrored and turned together, each image's light and colour changed a little."""
    flips = torch.rand(3, generator=generator) < 0.5
    if flips[0]:
        pixels, labels = pixels.flip(-1), labels.flip(-1)
    if flips[1]:
        pixels, labels = pixels.flip(-2), labels.flip(-2)
    if flips[2]:
        pixels, labels = pixels.transpose(-1, -2), labels.transpose(-1, -2)
    count = len(pixels)
    gain = 1 + config.jitter * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
    tint = config.jitter * (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1)
    return (pixels * gain + 0.5 * tint).clamp(-1, 1), labels
