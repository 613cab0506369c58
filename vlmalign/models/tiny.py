"""A small LLaVA built in code: real architecture and processor, random weights, no download."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlmalign.models.loading import VLM

# Role markers are special tokens, so text before and after a marker is tokenised apart: a conversation
# can be extended turn by turn, and the tokens of its earlier part never change.
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<image>", "<system>", "<user>", "<assistant>")

CHAT_TEMPLATE = (
    "{{ '<s>' }}"
    "{% for message in messages %}"
    "{{ '<' + message['role'] + '>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{{ part['text'] }}{% if not loop.last %}{{ '\n' }}{% endif %}"
    "{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def build_tiny_llava(
    corpus: Iterable[str],
    *,
    image_size: int = 96,
    patch_size: int = 12,
    hidden: int = 128,
    layers: int = 4,
    vision_hidden: int = 128,
    vision_layers: int = 4,
    heads: int = 4,
    vocab_size: int = 512,
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    seed: int = 0,
) -> VLM:
    """Build a randomly initialised LLaVA with its processor.

    A CLIP vision tower, the usual two-layer projector and a Llama text model with tied embeddings. The
    image becomes `(image_size / patch_size) ** 2` tokens. The same arguments give the same weights.

    Args:
        corpus: texts the byte-level BPE vocabulary is learnt from; any other text stays encodable.
        image_size: side of the square, in px, that every image is resized to.
        patch_size: side of a patch, in px; must divide `image_size`.
        hidden: width H of the text model.
        layers: depth of the text model.
        vision_hidden: width of the vision tower.
        vision_layers: depth of the vision tower.
        heads: attention heads of both; must divide both widths.
        vocab_size: upper limit of the vocabulary, at least 256 bytes plus the special tokens.
        image_mean: mean of each colour channel, 0..1. Those of the training images make a tower learn faster:
            centred patches differ by their content, not by how far they are from grey.
        image_std: standard deviation of each colour channel.
        seed: of the weights.

    Returns:
        The model (float32, evaluation mode, on the CPU) and its processor with a chat template.

    Raises:
        ValueError: sizes that do not divide each other, or a vocabulary too small for the bytes.

    Example:
        >>> vlm = build_tiny_llava(["No leukocyte is seen."], image_size=24, patch_size=12, hidden=16, layers=1,
        ...                        vision_hidden=16, vision_layers=1, heads=2)
        >>> vlm.processor.tokenizer.decode(vlm.processor.tokenizer("<user>Hi").input_ids)
        '<user>Hi'
    """
    _check_sizes(image_size, patch_size, hidden, vision_hidden, heads, vocab_size)
    tokenizer = _train_tokenizer(corpus, vocab_size)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"height": image_size, "width": image_size},
            do_center_crop=False,
            crop_size={"height": image_size, "width": image_size},
            image_mean=list(image_mean),
            image_std=list(image_std),
        ),
        tokenizer=tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the CLS token, which the "default" strategy drops again
        chat_template=CHAT_TEMPLATE,
    )
    config = LlavaConfig(  # type: ignore[call-arg]
        vision_config=CLIPVisionConfig(
            hidden_size=vision_hidden,
            intermediate_size=4 * vision_hidden,
            num_hidden_layers=vision_layers,
            num_attention_heads=heads,
            image_size=image_size,
            patch_size=patch_size,
            hidden_act="gelu",
        ),
        text_config=LlamaConfig(
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            vocab_size=len(tokenizer),
            max_position_embeddings=2048,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(image_size // patch_size) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return VLM(model=model.eval(), processor=processor)


def _check_sizes(image: int, patch: int, hidden: int, vision_hidden: int, heads: int, vocab: int) -> None:
    if image % patch:
        raise ValueError(f"image_size is {image}, expected a multiple of patch_size {patch}: change one of them.")
    for name, width in (("hidden", hidden), ("vision_hidden", vision_hidden)):
        if width % (2 * heads):
            raise ValueError(
                f"{name} is {width}, expected a multiple of 2 * heads = {2 * heads} (rotary positions turn "
                "pairs of channels): change one of them."
            )
    least = 256 + len(SPECIAL_TOKENS)
    if vocab < least:
        raise ValueError(f"vocab_size is {vocab}, expected at least {least} (bytes and special tokens): raise it.")


def _train_tokenizer(corpus: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        additional_special_tokens=["<system>", "<user>", "<assistant>"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
