"""What `vlmalign preview` shows: tokens with their loss mask, images as the model sees them, memory."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

LEARNT = "«", "»"  # round what the loss looks at: bold is not seen in a file or a pipe


def show_preview(
    stage: str, config: Mapping[str, Any], console: Console, count: int, out: Path | None, *, where: str
) -> None:
    """Print a preview of a training stage; with `out`, also write its images as PNG files.

    Raises:
        ValueError: a stage that does not train on records.
    """
    from vlmalign.data import ExampleDataset, collate, pad_token
    from vlmalign.records import Demonstration, Preference
    from vlmalign.training import DpoConfig, RewardConfig, SftConfig, make_config
    from vlmalign.training.policy import load_policy

    stages: dict[str, tuple[Any, Any]] = {
        "sft": (SftConfig, Demonstration),
        "sft-matched": (SftConfig, Demonstration),
        "reward": (RewardConfig, Preference),
        "dpo": (DpoConfig, Preference),
    }
    if stage not in stages:
        raise ValueError(f"stage {stage!r} has no preview: give a recipe of stage sft, reward, dpo or ppo")
    config_type, kind = stages[stage]
    given = {k: v for k, v in config.items() if k not in ("like", "plus", "overwrite")}
    settings = make_config(config_type, given | ({"max_steps": 1} if stage == "sft-matched" else {}), where=where)
    vlm = load_policy(settings)
    data = ExampleDataset(settings.data, record_type=kind, processor=vlm.processor, stops=vlm.stop_tokens)
    batch = collate([data[i] for i in range(min(count, len(data)))], pad_token(vlm.processor))["batch"]
    what = "the last token, whose score is learnt, is" if stage == "reward" else "learnt tokens are"
    marked = f"{LEARNT[0]}[bold]marked[/]{LEARNT[1]}"
    console.print(f"{len(data)} examples; batches of {settings.batch_size} prompts; {what} {marked}\n")
    for number in range(batch.n_responses):
        if number == 0 or batch.prompt_index[number] != batch.prompt_index[number - 1]:
            console.print(prompt_line(vlm, batch, int(batch.prompt_index[number])))
        console.print(_response(vlm, batch, number, scored=stage == "reward"))
    if out is not None:
        write_images(vlm, batch, out, console)
    show_memory(
        vlm.model, batch, console, prompts=settings.batch_size, mixed=settings.dtype == "mixed",
        logps=stage != "reward",
    )  # fmt: skip


def prompt_line(vlm: Any, batch: Any, row: int) -> Text:
    """A prompt as text, its image tokens counted."""
    ids = batch.prompts["input_ids"][row][batch.prompts["attention_mask"][row].bool()].tolist()
    image = vlm.model.config.image_token_id
    text = Text("prompt   ", style="cyan")
    for is_image, run in groupby(ids, key=lambda token: token == image):
        tokens = list(run)
        if is_image:
            text.append(f"[{len(tokens)} image tokens]", style="magenta")
        else:
            text.append(vlm.tokenizer.decode(tokens), style="")
    return text


def _response(vlm: Any, batch: Any, number: int, *, scored: bool) -> Text:
    """An answer with what the loss looks at: each token of its assistant, or its score, read at the last token."""
    ids = batch.response_ids[number][batch.response_mask[number]].tolist()
    if scored:
        marks, note = [False] * (len(ids) - 1) + [True], f"(one score, read at token {len(ids)} of {len(ids)})"
    else:
        marks = batch.loss_mask[number][batch.response_mask[number]].tolist()
        note = f"({sum(marks)} of {len(ids)} tokens learnt)"
    text = Text(f"answer {batch.slots[number].item()} ", style="cyan")
    # A run of tokens is decoded together: a letter outside ASCII may be several tokens.
    for marked, run in groupby(zip(marks, ids, strict=True), key=lambda pair: pair[0]):
        said = vlm.tokenizer.decode([token for _, token in run])
        text.append(f"{LEARNT[0]}{said}{LEARNT[1]}" if marked else said, style="bold" if marked else "dim")
    text.append(f"  {note}", style="cyan")
    return text


def write_images(vlm: Any, batch: Any, out: Path, console: Console) -> None:
    """The pixel tensors turned back into pictures: what resizing and cropping have left."""
    import numpy as np
    import torch
    from PIL import Image

    if "pixel_values" not in batch.prompts:
        console.print("no picture: the prompt has no image")
        return
    processor = vlm.processor.image_processor
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    pixels = batch.prompts["pixel_values"]
    if pixels.ndim < 4 or pixels.shape[-3] != 3:
        console.print(f"no picture: this family packs its patches, pixel_values {tuple(pixels.shape)}")
        return
    out.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pixels.reshape(-1, *pixels.shape[-3:])):
        shown = (picture * std[:, None, None] + mean[:, None, None]).clamp(0, 1) * 255
        path = out / f"image-{i}.png"
        Image.fromarray(shown.permute(1, 2, 0).numpy().round().astype(np.uint8)).save(path)
        console.print(f"wrote {path}", markup=False)


def show_memory(
    model: Any,
    batch: Any,
    console: Console,
    *,
    prompts: int,
    mixed: bool,
    logps: bool = True,
    copied: bool = False,
) -> None:
    """Weights, gradients, AdamW's two moments, and one step's activations, measured by running it.

    Args:
        model: what is trained.
        batch: some prompts with their responses.
        console: where to print.
        prompts: how many are run at once in training.
        mixed: whether bfloat16 is computed in.
        logps: whether the loss is of log-probabilities; else of one score.
        copied: whether the trained weights are kept a second time, as the reference.
    """
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    total += trained if copied else 0
    activations = _saved_bytes(model, batch, mixed=mixed, logps=logps) * prompts / batch.n_prompts
    weights = f"weights and reference {_mb(total)}" if copied else f"weights {_mb(total)}"
    console.print(
        f"\nmemory estimate: {weights}, gradients {_mb(trained)}, AdamW {_mb(2 * trained)}, "
        f"activations {_mb(activations)} for {prompts} prompts: "
        f"[bold]{_mb(total + 3 * trained + activations)}[/] in all"
    )


def _saved_bytes(model: Any, batch: Any, *, mixed: bool, logps: bool) -> int:
    """Bytes that the backward pass keeps, each storage counted once; a reward model needs no log-probabilities."""
    import torch

    from vlmalign.models import forward_responses

    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    batch = batch.to(next(model.parameters()).device)
    precision = torch.autocast(batch.response_ids.device.type, dtype=torch.bfloat16, enabled=mixed)
    with precision, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward_responses(model, batch, logps=logps, hidden=not logps)
    return sum(kept.values())


def _mb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
