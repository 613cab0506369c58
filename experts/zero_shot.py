"""The zero-shot expert: an open_clip model that compares an image with texts for and against each finding.

CLIP (Radford et al. 2021, ICML, section 3.1.4): a class's text embedding is the normalised mean of the normalised
embeddings of all its prompts, templates times synonyms. The probability of a finding is the softmax over its two
embeddings, present and absent (Tiu et al. 2022, Nat Biomed Eng 6:1399).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from experts.expert_files import check_version, inside, load_weights, read_expert
from experts.protocol import Examination, ExpertCard, Presence
from experts.views import View, check_views, show
from vlmalign.records import DataError
from vlmalign.records.base import Part
from vlmalign.records.image import RelativePath

ARCHITECTURE = "zero_shot"
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
CHUNK = 16


class Wordings(Part):
    """How a finding is said to be there, and not to be there.

    Example:
        >>> Wordings(present=("pneumonia",)).denials
        ('no pneumonia',)
    """

    present: tuple[str, ...] = Field(min_length=1, description="synonyms")
    absent: tuple[str, ...] = Field((), description="default: each of `present` with a 'no' before it")

    @property
    def denials(self) -> tuple[str, ...]:
        """The texts against the finding."""
        return self.absent or tuple(f"no {text}" for text in self.present)


class ZeroShotSettings(Part):
    """What a zero-shot expert needs besides its model."""

    clip: RelativePath = Field("clip", description="folder with open_clip_config.json and safetensors weights")
    templates: tuple[str, ...] = Field(("{}",), min_length=1, description="each with one {} for the wording")
    findings: dict[str, Wordings] = Field(min_length=1)
    temperature: float | None = Field(
        None, gt=0, description="divides the cosines; unset: the model's own, which knows nothing of two prompts"
    )
    thresholds: dict[str, float] = Field(default_factory=dict)
    views: tuple[View, ...] = ("as_is",)
    laterality_matters: bool = Field(True, description="a mirrored image is another image; forbids 'mirrored'")

    @property
    def concepts(self) -> tuple[str, ...]:
        """What the expert assesses, sorted."""
        return tuple(sorted(self.findings))

    @model_validator(mode="after")
    def _settings_agree(self) -> ZeroShotSettings:
        for template in self.templates:
            if template.count("{}") != 1 or template.replace("{}", "").count("{"):
                raise ValueError(
                    f"the template {template!r} needs one {{}}, where the wording goes, and no other brace"
                )
        for name, wordings in self.findings.items():
            both = set(wordings.present) & set(wordings.denials)
            if both:
                raise ValueError(f"{name}: {sorted(both)[0]!r} is said for and against the finding: keep one")
        wrong = sorted(set(self.thresholds) - set(self.findings))
        if wrong:
            raise ValueError(f"thresholds hold {wrong[0]!r}, which is none of the findings {self.concepts}")
        check_views(self.views, self.concepts, laterality_matters=self.laterality_matters)
        return self


def prompts(wordings: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every wording in every template.

    Example:
        >>> prompts(["pneumonia", "consolidation"], ["{}", "a film with {}"])
        ['pneumonia', 'consolidation', 'a film with pneumonia', 'a film with consolidation']
    """
    return [template.replace("{}", text) for template in templates for text in wordings]


def mean_direction(embeddings: Tensor) -> Tensor:
    """The normalised mean (D,) of the normalised rows of (P, D): every prompt counts alike.

    Example:
        >>> mean_direction(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
        tensor([0.7071, 0.7071])
    """
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    return torch.nn.functional.normalize(unit.mean(0), dim=-1)


class ZeroShotExpert:
    """A CLIP with the texts of its findings, embedded once."""

    def __init__(
        self, model: Any, preprocess: Any, tokenizer: Any, card: ExpertCard, settings: ZeroShotSettings
    ) -> None:
        self.model, self.preprocess, self._card, self.settings = model.eval(), preprocess, card, settings
        for wordings in settings.findings.values():
            for text in prompts((*wordings.present, *wordings.denials), settings.templates):
                _refuse_cut(
                    tokenizer, text, int(getattr(model, "context_length", None) or tokenizer.context_length)
                )
        with torch.inference_mode():
            self.texts = torch.stack(
                [
                    torch.stack(
                        [
                            mean_direction(self.model.encode_text(tokenizer(prompts(some, settings.templates))))
                            for some in (wordings.present, wordings.denials)
                        ]
                    )
                    for wordings in (settings.findings[name] for name in settings.concepts)
                ]
            ).float()  # (K, 2, D)
            own = float(self.model.logit_scale.exp())
        self.scale = own if settings.temperature is None else 1 / settings.temperature

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Image.Image]) -> Tensor:
        """P(present) of each view, image and finding, (V, B, K)."""
        found = []
        for start in range(0, len(images), CHUNK):
            chunk = images[start : start + CHUNK]
            views = []
            for view in self.settings.views:
                batch = torch.stack([self.preprocess(show(image.convert("RGB"), view)) for image in chunk])
                unit = torch.nn.functional.normalize(self.model.encode_image(batch).float(), dim=-1)
                cosines = torch.einsum("bd,ksd->bks", unit, self.texts)
                views.append((self.scale * cosines).softmax(-1)[..., 0])
            found.append(torch.stack(views))
        return torch.cat(found, 1)

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """The probability of each finding in each image, with its spread over views."""
        if not images:
            return []
        p = self.probabilities(images).double()
        mean, std = p.mean(0), p.std(0, correction=0)
        thresholds = self.settings.thresholds
        return [
            Examination(
                {},
                presences={
                    name: Presence(round(float(mean[i, k]), 6), round(float(std[i, k]), 6), thresholds.get(name))
                    for k, name in enumerate(self.settings.concepts)
                },
            )
            for i in range(len(images))
        ]


@contextmanager
def _no_warnings() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _refuse_cut(tokenizer: Any, text: str, limit: int) -> None:
    """Raise ValueError for a prompt of which the model would read only the beginning."""
    if hasattr(tokenizer, "encode"):
        n = len(tokenizer.encode(text)) + 2
    else:
        n = len(tokenizer.tokenizer(text)["input_ids"])
    if n > limit:
        raise ValueError(f"the prompt {text[:60]!r} has {n} tokens and the model reads {limit}: shorten it")


def load_zero_shot(folder: Path) -> ZeroShotExpert:
    """Load an adopted zero-shot expert; nothing is downloaded and nothing unpickled.

    Raises:
        DataError: a file is missing or damaged, or is not what the card names.
    """
    card, settings = read_expert(folder, ZeroShotSettings)
    check_version(folder, card, settings, clip_files(settings.clip))
    place = inside(folder, settings.clip)
    try:
        with _no_warnings():  # of weights that are not loaded: they are, below
            model: Any = open_clip.create_model(f"local-dir:{place}", load_weights=False, pretrained_text=False)
        preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        config = json.loads((place / CONFIG).read_bytes())  # may ask for code to be run: never
        theirs = {"trust_remote_code": False} if config["model_cfg"]["text_cfg"].get("hf_tokenizer_name") else {}
        tokenizer = open_clip.get_tokenizer(f"local-dir:{place}", **theirs)
    except (RuntimeError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"open_clip cannot make the model ({type(error).__name__}: {error})",
            "Give a folder as open_clip writes it; one whose tokenizer is on the Hub needs the network.",
            file=place,
        ) from None
    load_weights(model, place / WEIGHTS)
    try:
        return ZeroShotExpert(model, preprocess, tokenizer, card, settings)
    except ValueError as error:
        raise DataError(str(error), "Correct settings.findings or settings.templates.", file=folder) from None


def clip_files(folder: str) -> tuple[str, ...]:
    """The files of a CLIP folder that decide what it says."""
    return f"{folder}/{CONFIG}", f"{folder}/{WEIGHTS}"
