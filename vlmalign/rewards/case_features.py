"""Features of cases from their pictures alone: a few pixels, or what a model's vision tower makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vlmalign.data.prompts import encode_prompt
from vlmalign.models import VLM
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.language_model import load_language_model, model_digest

PIXELS = "pixels"
SIDE = 8
CACHED_BYTES = 2**26  # neighbouring cases show the same picture


class CaseFeatures:
    """One vector for each case, whatever is asked of it.

    `pixels`: the picture reduced to 8 x 8 colours, averaged over the case's images, 192 numbers. A model: what its
    vision tower and projector make of the images, averaged over the tokens of all of them.

    Args:
        source: `pixels`, or a model: its folder, a run, a Hub id, or `builtin:NAME`.
        device: where a model runs; "auto": the accelerator, if there is one.

    Attributes:
        digest: hash of all that decides the features of a picture.
    """

    def __init__(self, source: str | Path = PIXELS, *, device: str = "auto") -> None:
        self._vlm: VLM | None = None
        if str(source) == PIXELS:
            self.digest = config_hash([PIXELS, SIDE])
            return
        self._vlm = load_language_model(source, dtype="float32", device=device)
        self._vlm.model.requires_grad_(False)
        self._cache = FeatureCache(self._vlm.model, memory_bytes=CACHED_BYTES)
        self.digest = model_digest(self._vlm)

    def of(self, folder: RecordFolder[Case], cases: Sequence[Case]) -> NDArray[np.float64]:
        """Features of N cases of a folder, (N, D).

        Raises:
            DataError: a picture that cannot be read or does not reach the model, or a feature that is not finite.
        """
        rows = []
        for case in cases:
            images = [folder.image(ref, record=case.id) for ref in case.images]
            row = _pixels(images) if self._vlm is None else self._vision(case, images)
            if not np.isfinite(row).all():
                raise DataError(
                    "the model's features of its pictures are not all finite",
                    "Use another model, or the features 'pixels'.",
                    file=folder.path,
                    record=case.id,
                    field="images",
                )
            rows.append(row)
        return np.stack(rows)

    @torch.no_grad()
    def _vision(self, case: Case, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        assert self._vlm is not None
        prompt = encode_prompt(self._vlm.processor, case.messages, images, record=case.id)
        inputs = {name: value.to(self._vlm.model.device) for name, value in prompt.items()}
        features = self._cache.replace_images(inputs)["mm_encoder_outputs"]["image"].pooler_output
        tokens = torch.cat([row.reshape(-1, row.shape[-1]) for row in features])
        return np.asarray(tokens.double().mean(0).cpu())


def _pixels(images: Sequence[Image.Image]) -> NDArray[np.float64]:
    """Mean over images of their colours from 0 to 1, (192,)."""
    small = [image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX) for image in images]
    return np.mean([np.asarray(each, dtype=np.float64).ravel() / 255 for each in small], axis=0)
