"""A CLIP model: unit embeddings of pictures and texts, nothing cut short without a word."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vlmalign.records.hashing import config_hash, sha256_file
from vlmalign.rewards.clip_files import CONFIG, find_clip, no_foreign_code
from vlmalign.rewards.language_model import chosen_device


class ClipBackbone:
    """Pictures and texts in one space.

    Args:
        model: see `find_clip`.
        checkpoint: see `find_clip`.
        batch_size: pictures or texts per forward pass.
        device: where it runs; "auto": the accelerator, if there is one.

    Raises:
        FileNotFoundError: no such model.
        ValueError: pickled weights, weights of another architecture, or a model or tokenizer that cannot be made.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        *,
        batch_size: int = 64,
        device: str = "auto",
    ) -> None:
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        files = find_clip(model, checkpoint)
        self.batch_size, self.device = batch_size, chosen_device(device)
        with _no_warnings():  # of weights that are not loaded: they are, below
            try:
                made: Any = open_clip.create_model(
                    files.name, load_weights=False, pretrained_text=False, force_preprocess_cfg=files.preprocess
                )
                self.tokenizer: Any = open_clip.get_tokenizer(files.tokenizer, **no_foreign_code(files.name))
            except Exception as error:
                raise ValueError(f"{model}: no CLIP model can be made of it ({_first_line(error)}).") from error
            try:
                open_clip.load_checkpoint(made, str(files.weights), strict=True)
            except Exception as error:
                raise ValueError(
                    f"the weights in {files.weights} do not fit {model} ({_first_line(error)}): give those of the "
                    "same architecture."
                ) from error
        self.model = made.to(self.device).eval()
        self._prepare: Any = image_transform_v2(PreprocessCfg(**made.visual.preprocess_cfg), is_train=False)
        config = Path(files.name.removeprefix("local-dir:")) / CONFIG
        described = sha256_file(config) if config.is_file() else files.name
        self.digest = config_hash([sha256_file(files.weights), described])
        self._flops: dict[str, float] = {}

    @property
    def context_length(self) -> int:
        """The most tokens of a text that the model reads, its marks included."""
        own = getattr(self.model, "context_length", None) or self.tokenizer.context_length
        return min(own, self.tokenizer.context_length)

    def refusal(self, text: str) -> str | None:
        """Why a text cannot be embedded whole, or None if it can."""
        tokens, marks, special = _tokens(self.tokenizer, text)
        if len(tokens) + marks > self.context_length:
            return (
                f"a text has {len(tokens) + marks} tokens and the model reads {self.context_length}: {text[:60]!r}"
            )
        if not tokens:
            return f"a text has no token: {text!r}"
        return f"a text spells a special token: {text[:60]!r}" if special.intersection(tokens) else None

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings, (N, D) float64 on the CPU.

        Raises:
            ValueError: a text that cannot be embedded whole.
        """
        for text in texts:
            reason = self.refusal(text)
            if reason is not None:
                raise ValueError(f"{reason}. Shorten or reword it; nothing is cut.")
        parts = [texts[i : i + self.batch_size] for i in range(0, len(texts), self.batch_size)]
        tokens = [self.tokenizer(list(part), context_length=self.context_length) for part in parts]
        return self._embed("encode_text", tokens)

    def embed_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Unit embeddings, (N, D) float64 on the CPU."""
        parts = [images[i : i + self.batch_size] for i in range(0, len(images), self.batch_size)]
        pixels = (torch.stack([self._prepare(image.convert("RGB")) for image in part]) for part in parts)
        return self._embed("encode_image", pixels)

    @torch.no_grad()
    def _embed(self, method: str, batches: Any) -> Tensor:
        found = []
        for batch in batches:
            batch = batch.to(self.device)
            if method not in self._flops:
                self._flops[method] = self._count(method, batch[:1])
            features = getattr(self.model, method)(batch)
            found.append(torch.nn.functional.normalize(features.double(), dim=-1).cpu())
        return torch.cat(found)

    def _count(self, method: str, one: Tensor) -> float:
        """Operations for one picture or text, by counting them once: all of one model have the same size."""
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # neither it nor a fused kernel is counted
        try:
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                getattr(self.model, method)(one)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
        return float(counter.get_total_flops())

    def flops(self, *, images: int, texts: int) -> float:
        """Floating point operations of embedding so many, after one of each kind was."""
        return images * self._flops.get("encode_image", 0.0) + texts * self._flops.get("encode_text", 0.0)


def _tokens(tokenizer: Any, text: str) -> tuple[list[int], int, set[int]]:
    """All tokens of a text without marks, how many marks are added, and the ids that a text may not spell.

    The tokenizers of open_clip cut at the context length and say nothing, so they are asked before they cut.
    """
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return tokenizer.encode(text), 2, set(tokenizer.all_special_ids)
    if hasattr(tokenizer, "clean_fn"):
        text = tokenizer.clean_fn(text)
    else:
        from open_clip.tokenizer import basic_clean, canonicalize_text

        text = canonicalize_text(basic_clean(text))
    tokens = inner(text, add_special_tokens=False, truncation=False)["input_ids"]
    if getattr(tokenizer, "tokenizer_mode", "") == "clips":
        marks = 3
    else:
        marks = len(inner(text, truncation=False)["input_ids"]) - len(tokens)
    unknown = {inner.unk_token_id} if inner.unk_token_id is not None else set()
    return tokens, marks, set(inner.all_special_ids) - unknown


@contextmanager
def _no_warnings() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
