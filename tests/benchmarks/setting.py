"""The model, the pairs and the adapters that both sides of every benchmark share."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlmalign.models import VLM, LoraSettings, build_tiny_llava
from vlmalign.models.loading import add_lora
from vlmalign.records import Message, assistant, user

IMAGE_SIZE, PATCH, ANSWER_TOKENS, PAIRS, BETA = 336, 14, 64, 4, 0.1
QUESTION = "Describe this blood smear field: leukocytes, red cells, platelets, focus and stain."
WORDS = (
    "leukocyte platelet red cell field stain focus normal crowded sparse present absent seen count many few pale "
    "round nucleus lobed large small membrane cytoplasm granule smear edge centre"
).split()


@dataclass(frozen=True)
class Pair:
    """One image with a chosen and a rejected answer, and two more for rankings of four."""

    image: Image.Image
    answers: tuple[str, ...]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The question, with its image."""
        return (user(QUESTION, images=1),)

    def turns(self, rank: int) -> tuple[Message, ...]:
        """An answer as a turn."""
        return (assistant(self.answers[rank]),)

    def row(self, chosen: int = 0, rejected: int = 1) -> dict[str, Any]:
        """The pair as TRL's vision preference row."""
        part = [{"type": "text", "text": QUESTION}]
        return {
            "images": [self.image],
            "prompt": [{"role": "user", "content": [{"type": "image"}, *part]}],
            **{
                name: [{"role": "assistant", "content": [{"type": "text", "text": self.answers[rank]}]}]
                for name, rank in (("chosen", chosen), ("rejected", rejected))
            },
        }


def build(vocabulary: int) -> VLM:
    """A LLaVA of 576 image tokens whose body outweighs an output layer of 1,000 words, as in a large model."""
    vlm = build_tiny_llava(
        _corpus(), image_size=IMAGE_SIZE, patch_size=PATCH, hidden=384, layers=6, vision_hidden=384,
        vision_layers=6, heads=6, vocab_size=600,
    )  # fmt: skip
    torch.manual_seed(0)
    vlm.model.resize_token_embeddings(vocabulary, mean_resizing=False)
    return vlm


def adapt(vlm: VLM) -> VLM:
    """LoRA of rank 16 on the language model."""
    return VLM(add_lora(vlm.model, LoraSettings(r=16, alpha=32)), vlm.processor)


def stir(model: torch.nn.Module) -> None:
    """Give the adapters the same weights on both sides, off zero: there every DPO loss is log 2."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.03)


def pairs(vlm: VLM, seed: int) -> list[Pair]:
    """A batch of pairs with answers of 64 tokens, end token included."""
    draw, pixels = random.Random(seed), np.random.default_rng(seed)
    return [
        Pair(
            Image.fromarray(pixels.integers(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)),
            tuple(_answer(vlm, draw) for _ in range(4)),
        )
        for _ in range(PAIRS)
    ]


def _answer(vlm: VLM, draw: random.Random) -> str:
    while True:
        words = [draw.choice(WORDS)]
        while (n := len(vlm.tokenizer(" ".join(words)).input_ids)) < ANSWER_TOKENS - 1:
            words.append(draw.choice(WORDS))
        if n == ANSWER_TOKENS - 1:
            return " ".join(words)


def _corpus() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=20)) for _ in range(200)] + [QUESTION]
