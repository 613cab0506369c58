"""Tiny random models of every family: real architectures, real processors, built in code."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from vlmalign.models import VLM
from vlmalign.records import DatasetBuild, ImageRef, Judgement, Preference, assistant, user

# the same output on every machine: no colours because a service asks for them, no width of the terminal in use
for _name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH"):
    os.environ.pop(_name, None)
os.environ["COLUMNS"] = "80"

TEXT = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
NO_HEAD_DIM = {name: value for name, value in TEXT.items() if name != "head_dim"}
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 7,
}  # fmt: skip
SQUARE = {"height": 28, "width": 28}
TEMPLATE = (
    "{{ START }}{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ 'IMAGE' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def template(image: str, start: str = "'<s>'") -> str:
    return TEMPLATE.replace("IMAGE", image).replace("START", start)


def bytes_tokenizer(**named: str) -> hf.PreTrainedTokenizerFast:
    """One token per byte, chat markers, and a family's own special tokens by attribute."""
    special = ["<pad>", "<s>", "</s>", "<system>", "<user>", "<assistant>", *named.values()]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({token: i for i, token in enumerate([*special, *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=False)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="left",
        extra_special_tokens={"user": "<user>", "assistant": "<assistant>", "system": "<system>", **named},
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def llava() -> VLM:
    tokenizer = bytes_tokenizer(image_token="<image>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION),
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        vision_feature_layer=-1,
    )
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(size=SQUARE, crop_size=SQUARE), tokenizer, patch_size=7,
        num_additional_image_tokens=1, vision_feature_select_strategy="default", chat_template=template("<image>"),
    )  # fmt: skip
    return VLM(hf.LlavaForConditionalGeneration(config), processor)


def llava_on_mistral() -> VLM:
    """Sliding windows in all layers."""
    vlm = llava()
    text = hf.MistralConfig(**TEXT, vocab_size=len(vlm.tokenizer), sliding_window=6)
    config = hf.LlavaConfig(
        vision_config=vlm.model.config.vision_config,
        text_config=text,
        image_token_id=vlm.tokenizer.image_token_id,
        vision_feature_layer=-1,
    )
    return VLM(hf.LlavaForConditionalGeneration(config), vlm.processor)


def llava_next() -> VLM:
    tokenizer = bytes_tokenizer(image_token="<image>")
    pinpoints = [[28, 28], [28, 56], [56, 28]]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**VISION),
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
    )
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 28}, crop_size=SQUARE, image_grid_pinpoints=pinpoints
    )
    processor = hf.LlavaNextProcessor(
        images, tokenizer, patch_size=7, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=template("<image>"),
    )  # fmt: skip
    return VLM(hf.LlavaNextForConditionalGeneration(config), processor)


def llava_onevision() -> VLM:
    tokenizer = bytes_tokenizer(image_token="<image>", video_token="<video>")
    pinpoints = [[28, 28], [28, 56], [56, 28]]
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION),
        text_config=hf.Qwen2Config(**NO_HEAD_DIM, vocab_size=len(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
    )
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=pinpoints),
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    return VLM(hf.LlavaOnevisionForConditionalGeneration(config), processor)


def qwen(
    config_class: type,
    model_class: type,
    processor_class: type,
    videos: type,
    text: dict,
    vision: dict,
    rope: dict,
) -> VLM:
    tokenizer = bytes_tokenizer(
        image_token="<|image_pad|>", video_token="<|video_pad|>", vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )  # fmt: skip
    rope = {"rope_type": "default", "type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]} | rope
    config = config_class(
        text_config=text | {"rope_parameters": rope, "vocab_size": len(tokenizer)},
        vision_config={"depth": 2, "num_heads": 2, **vision},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.vision_start_token_id,
        vision_end_token_id=tokenizer.vision_end_token_id,
    )
    patch = vision["patch_size"]
    images = hf.Qwen2VLImageProcessor(
        size={"shortest_edge": (2 * patch) ** 2, "longest_edge": (4 * patch) ** 2}, patch_size=patch
    )
    processor = processor_class(
        images, tokenizer, videos(), chat_template=template("<|vision_start|><|image_pad|><|vision_end|>")
    )
    return VLM(model_class(config), processor)


def qwen2_vl() -> VLM:
    return qwen(
        hf.Qwen2VLConfig, hf.Qwen2VLForConditionalGeneration, hf.Qwen2VLProcessor, hf.Qwen2VLVideoProcessor,
        NO_HEAD_DIM, {"embed_dim": 32, "hidden_size": 64, "patch_size": 14}, {},
    )  # fmt: skip


def qwen2_5_vl() -> VLM:
    vision = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "patch_size": 14}
    return qwen(
        hf.Qwen2_5_VLConfig, hf.Qwen2_5_VLForConditionalGeneration, hf.Qwen2_5_VLProcessor,
        hf.Qwen2VLVideoProcessor, TEXT, vision | {"fullatt_block_indexes": [1]}, {},
    )  # fmt: skip


def qwen3_vl() -> VLM:
    vision = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "patch_size": 16}
    return qwen(
        hf.Qwen3VLConfig, hf.Qwen3VLForConditionalGeneration, hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor,
        TEXT, vision | {"deepstack_visual_indexes": [1], "num_position_embeddings": 64},
        {"mrope_interleaved": True},
    )  # fmt: skip


def internvl() -> VLM:
    tokenizer = bytes_tokenizer(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )  # fmt: skip
    config = hf.InternVLConfig(
        text_config=hf.Qwen2Config(**NO_HEAD_DIM, vocab_size=len(tokenizer)),
        vision_config=VISION | {"image_size": [28, 28], "patch_size": [7, 7]},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
        vision_feature_layer=-1,
    )
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size=SQUARE, max_patches=3), tokenizer, hf.InternVLVideoProcessor(),
        image_seq_length=4, chat_template=template("<IMG_CONTEXT>"),
    )  # fmt: skip
    return VLM(hf.InternVLForConditionalGeneration(config), processor)


def paligemma2() -> VLM:
    """On Gemma 2, half of whose layers have sliding windows."""
    layers = {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}
    return paligemma(hf.Gemma2Config, **layers)


def paligemma(text: type = hf.GemmaConfig, **more: object) -> VLM:
    images = hf.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(
        images, bytes_tokenizer(image_token="<image>"), chat_template=template("<image>", start="''")
    )
    config = hf.PaliGemmaConfig(
        text_config=text(**TEXT, vocab_size=len(processor.tokenizer), **more),
        vision_config=hf.SiglipVisionConfig(**VISION, projection_dim=64),
        image_token_id=processor.tokenizer.image_token_id,
        image_token_index=processor.tokenizer.image_token_id,
        projection_dim=64,
    )
    return VLM(hf.PaliGemmaForConditionalGeneration(config), processor)


def gemma3(window: int = 512) -> VLM:
    tokenizer = bytes_tokenizer(
        boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"
    )
    layers = ["sliding_attention", "full_attention"]
    config = hf.Gemma3Config(
        text_config=hf.Gemma3TextConfig(
            **TEXT, vocab_size=len(tokenizer), sliding_window=window, layer_types=layers
        ),
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_id=tokenizer.image_token_id,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(size=SQUARE), tokenizer, image_seq_length=4,
        chat_template=template("<start_of_image>"),
    )  # fmt: skip
    return VLM(hf.Gemma3ForConditionalGeneration(config), processor)


def gemma3_narrow() -> VLM:
    """Sliding windows shorter than a row."""
    return gemma3(window=6)


def mistral3() -> VLM:
    tokenizer = bytes_tokenizer(image="[IMG]", row="[IMG_BREAK]", end="[IMG_END]")
    config = hf.Mistral3Config(
        vision_config=hf.PixtralVisionConfig(**VISION, head_dim=16),
        text_config=hf.MistralConfig(**TEXT, vocab_size=len(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        vision_feature_layer=-1,
    )
    images = hf.PixtralImageProcessor(size={"longest_edge": 56}, patch_size={"height": 14, "width": 14})
    processor = hf.PixtralProcessor(
        images, tokenizer, patch_size=7, spatial_merge_size=2, chat_template=template("[IMG]")
    )
    return VLM(hf.Mistral3ForConditionalGeneration(config), processor)


def idefics3(name: str = "Idefics3") -> VLM:
    tokenizer = bytes_tokenizer(
        image_token="<image>", fake="<fake_token_around_image>", end="<end_of_utterance>", whole="<global-img>"
    )
    sizes = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}}
    images = getattr(hf, f"{name}ImageProcessor")(**sizes)
    processor = hf.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template("<image>"))
    config = getattr(hf, f"{name}Config")(
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(tokenizer)),
        vision_config=VISION,
        scale_factor=2,
        image_token_id=processor.image_token_id,
    )
    return VLM(getattr(hf, f"{name}ForConditionalGeneration")(config), processor)


def smolvlm() -> VLM:
    return idefics3("SmolVLM")  # with Idefics3's processor: its own, which treats images alike, needs num2words


FAMILIES: dict[str, Callable[[], VLM]] = {
    make.__name__: make
    for make in (
        llava, llava_on_mistral, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, internvl, paligemma,
        paligemma2, gemma3, gemma3_narrow, idefics3, smolvlm, mistral3,
    )
}  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What no test seeds begins alike, whichever test ran before: also in fixtures that several tests share."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def strong(vlm: VLM, seed: int = 0) -> VLM:
    """Large random weights: a fresh model hardly reacts to a wrong mask, image or position."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in vlm.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    vlm.model.eval()
    return vlm


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights, as open_clip saves one; it reads texts of 16 tokens."""
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    save_file(CLIP(**architecture).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": architecture, "preprocess_cfg": {}}))
    return folder


@pytest.fixture(scope="session")
def make_family() -> Callable[[str], VLM]:
    """A fresh model by name."""

    def make(name: str) -> VLM:
        torch.manual_seed(0)
        return strong(FAMILIES[name]())

    return make


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest, make_family: Callable[[str], VLM]) -> VLM:
    """Each family once; shared: tests must leave its weights alone."""
    return make_family(request.param)


@pytest.fixture(scope="session")
def proved_families() -> list[str]:
    """Names for `make_family`."""
    return list(FAMILIES)


class PairFolders:
    """Writes small folders of pairs, and judgements of them with given scores."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pair(self, name: str, image: ImageRef, **fields: object) -> Preference:
        """A pair whose chosen answer says a leukocyte is there; `chosen` and `rejected` may be plain texts."""
        for side, text in (("chosen", "A leukocyte is present."), ("rejected", "No leukocyte is seen.")):
            said = fields.get(side, text)
            fields[side] = (assistant(said),) if isinstance(said, str) else said
        defaults = {
            "case_id": f"case-{name}", "group_id": f"group-{name}", "split": "test", "source": "expert",
            "images": (image,), "prompt": (user("Describe the field.", images=1),),
        }  # fmt: skip
        return Preference.model_validate({"id": name, **defaults, **fields})

    def pairs(self, out: str, pairs: dict[str, dict]) -> Path:
        """`pairs`: name -> fields that differ from the defaults; each has a picture of its own shade."""
        with DatasetBuild(self.root / out, "preference", {"name": out}) as build:
            for number, (name, fields) in enumerate(pairs.items()):
                image = build.add_image(Image.new("RGB", (8, 8), (number * 7 % 256, number // 36, 90)))
                build.commit(name, [self.pair(name, image, **fields)])
        return self.root / out

    def judged(self, out: str, scores: dict, *, config: dict | None = None, judge: str = "fake@1") -> Path:
        """`scores`: candidate id -> score, (score, std), or a text that says why there is none."""
        with DatasetBuild(self.root / out, "judgement", {"name": out, **(config or {})}) as build:
            for name, score in scores.items():
                state: dict = {"valid": False, "invalid_reason": score}
                if not isinstance(score, str):
                    mean, std = score if isinstance(score, tuple) else (score, None)
                    state = {"score": mean, "std": std}
                build.commit(name, [Judgement(
                    id=f"{name}/fake", case_id=name.partition("/")[0], candidate_ids=(name,), criterion="fake",
                    judge=judge, **state,
                )])  # fmt: skip
        return self.root / out

    def judged_pairs(self, out: str, scores: dict[str, tuple], **options: object) -> Path:
        """`scores`: pair -> the two sides' scores, as for `judged`."""
        sides = {
            f"{name}/{side}": score
            for name, both in scores.items()
            for side, score in zip(("chosen", "rejected"), both, strict=True)
        }
        return self.judged(out, sides, **options)


@pytest.fixture
def pair_folders(tmp_path: Path) -> PairFolders:
    """Writes below the test's own folder."""
    return PairFolders(tmp_path)
