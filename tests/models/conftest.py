"""A tiny LLaVA, and batches for it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from vlmalign.models import VLM, PromptBatch, build_tiny_llava

CORPUS = [
    "Describe this blood smear field.",
    "No leukocyte is seen. The stain is normal. Red cells are crowded.",
    "A leukocyte is present. Many platelets are seen. The field is blurred.",
] * 4
QUESTIONS = ("Why?", "Describe this field.", "Is a leukocyte present?")


def small_llava(seed: int = 0) -> VLM:
    vlm = build_tiny_llava(
        CORPUS,
        image_size=24,
        patch_size=12,
        hidden=32,
        layers=2,
        vision_hidden=32,
        vision_layers=2,
        heads=2,
        seed=seed,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # strong weights: a fresh model hardly reacts to images, masks and positions
        for parameter in vlm.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
        vlm.model.model.language_model.embed_tokens.weight.mul_(2)  # and sharp choices
    return vlm


def encode_prompts(vlm: VLM, questions: tuple[str, ...], side: str = "left") -> dict[str, torch.Tensor]:
    pixels = np.random.default_rng(0).integers(0, 255, (len(questions), 24, 24, 3), dtype=np.uint8)
    texts = [
        vlm.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for question in questions
    ]
    vlm.tokenizer.padding_side = side
    images = [Image.fromarray(each) for each in pixels]
    return dict(vlm.processor(images=images, text=texts, return_tensors="pt", padding=True))


def random_batch(prompts: dict[str, torch.Tensor], lengths: list[list[int]], seed: int = 0) -> PromptBatch:
    """`lengths[b]`: lengths of the responses of prompt b."""
    flat = [length for own in lengths for length in own]
    real = torch.arange(max(flat)) < torch.tensor(flat)[:, None]
    ids = torch.randint(10, 250, real.shape, generator=torch.Generator().manual_seed(seed)) * real
    index = torch.tensor([prompt for prompt, own in enumerate(lengths) for _ in own])
    return PromptBatch(prompts, ids, real, real, index)


@pytest.fixture(scope="session")
def vlm() -> VLM:
    """Shared; tests must leave its weights alone."""
    return small_llava()


@pytest.fixture
def fresh_vlm() -> VLM:
    return small_llava()


@pytest.fixture
def make_prompts() -> Callable[..., dict[str, torch.Tensor]]:
    return encode_prompts


@pytest.fixture
def make_batch() -> Callable[..., PromptBatch]:
    return random_batch


@pytest.fixture(params=["left", "right"])
def batch(request: pytest.FixtureRequest, vlm: VLM) -> PromptBatch:
    """Three prompts of different lengths, with 3, 1 and 2 responses of different lengths."""
    return random_batch(encode_prompts(vlm, QUESTIONS, request.param), [[5, 1, 3], [2], [4, 5]])
