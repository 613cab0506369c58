"""A Hugging Face model in this process that answers several requests in one go, each as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_builders.judges.asking import JudgeReply, JudgeRequest
from data_builders.judges.backend import EndpointError
from vlmalign.records import Message


@dataclass(frozen=True)
class Asked:
    """A request with its pictures, decoded, and the seed of its sampling."""

    request: JudgeRequest
    pictures: list[Any]
    seed: int

    @property
    def kind(self) -> tuple[int, bool]:
        """What the requests of a batch have in common: their token limit, and whether they show images."""
        return self.request.max_tokens, bool(self.pictures)


class LocalModel:
    """A model with its tokenizer or processor."""

    def __init__(self, source: str, gguf: str | None, device: str, dtype: str) -> None:
        import torch
        import transformers as hf

        ours_only: dict[str, Any] = {"trust_remote_code": False}  # unset, the library asks whether to run it
        more = ours_only if gguf is None else {**ours_only, "gguf_file": gguf}
        self.sees = gguf is None and (
            type(hf.AutoConfig.from_pretrained(source, **ours_only))
            in hf.AutoModelForImageTextToText._model_mapping
        )
        kind = hf.AutoModelForImageTextToText if self.sees else hf.AutoModelForCausalLM
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        safe = {"use_safetensors": True} if gguf is None else {}
        model: Any = kind.from_pretrained(source, dtype=dtype, **safe, **more)
        self.model = model.to(device).eval()
        self.processor: Any = (hf.AutoProcessor if self.sees else hf.AutoTokenizer).from_pretrained(source, **more)
        tokenizer: Any = getattr(self.processor, "tokenizer", self.processor)
        if getattr(self.processor, "chat_template", None) is None and tokenizer.chat_template is None:
            raise EndpointError(
                f"{source} has no chat template: it cannot be asked. Use an instruction-tuned model."
            )
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer: Any = tokenizer
        self.source = source
        self.special = {str(t) for t in tokenizer.all_special_tokens} | set(_placeholders(self.processor))
        ends = self.model.generation_config.eos_token_id
        self.ends = set(ends) if isinstance(ends, list) else {ends, tokenizer.eos_token_id}

    def generate(self, batch: Sequence[Asked], name: str) -> list[JudgeReply]:
        """Replies to requests of one kind.

        Raises:
            EndpointError: the model cannot take them, or not so many at once.
        """
        import torch

        pictured = next((len(one.pictures) for one in batch if one.pictures), 0)
        if pictured and not self.sees:
            raise EndpointError(
                f"{name} reads text only, and the request has {pictured} image(s). Choose a model that sees "
                "images, or a protocol without them."
            )
        inputs = self._inputs(batch)
        lengths = inputs["attention_mask"].sum(1).tolist()
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        new = batch[0].request.max_tokens
        fits = [limit is None or length + new <= limit for length in lengths]
        if not all(fits):
            left = [one for one, fit in zip(batch, fits, strict=True) if fit]
            replies = iter(self.generate(left, name) if left else [])
            return [
                next(replies) if fit else _too_long(name, length, new, limit)
                for fit, length in zip(fits, lengths, strict=True)
            ]
        try:
            with torch.inference_mode():
                out = self.model.generate(
                    **inputs, do_sample=False, temperature=None, top_p=None, top_k=None, max_new_tokens=new,
                    logits_processor=[_Draw(batch, self.model.device)], pad_token_id=self.tokenizer.pad_token_id,
                )  # fmt: skip
        except torch.OutOfMemoryError as error:
            raise EndpointError(
                f"{name}: memory is too small for {len(batch)} request(s) at once ({str(error).splitlines()[0]}). "
                "Set a smaller batch_size, or use a smaller model."
            ) from None
        rows = out[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._reply(row, length, name) for row, length in zip(rows, lengths, strict=True)]

    def _reply(self, written: list[int], length: int, name: str) -> JudgeReply:
        """What one row says, up to its end; what follows is padding."""
        end = next((place for place, token in enumerate(written) if token in self.ends), None)
        written = written if end is None else written[: end + 1]
        text = self.tokenizer.decode(written, skip_special_tokens=True).strip()
        tokens = (length, len(written))
        if end is None:
            return JudgeReply("cut", text, name, "the token limit was reached", *tokens)
        if not text:
            return JudgeReply("failed", "", name, "the reply is empty", *tokens)
        return JudgeReply("answered", text, name, "", *tokens)

    def _inputs(self, batch: Sequence[Asked]) -> Any:
        """The requests as the model takes them, padded at the left; pictures of each row in a list of its own."""
        texts = [self._rendered(one.request.messages) for one in batch]
        begun = self.tokenizer.bos_token is not None and texts[0].startswith(self.tokenizer.bos_token)
        more: dict[str, Any] = {"images": [one.pictures for one in batch]} if batch[0].pictures else {}
        if len(batch) > 1:
            more["padding"] = True
        return self.processor(text=texts, return_tensors="pt", add_special_tokens=not begun, **more).to(
            self.model.device
        )

    def _rendered(self, messages: tuple[Message, ...]) -> str:
        """The chat as its template writes it, which some want as plain texts and some in parts.

        Raises:
            EndpointError: the template leaves out a turn, or refuses one.
        """
        parts = [
            {
                "role": m.role,
                "content": [
                    {"type": "text", "text": break_up(p.text, self.special)}
                    if p.type == "text"
                    else {"type": "image"}
                    for p in m.content
                ],
            }
            for m in messages
        ]
        plain = [{"role": m.role, "content": break_up(m.text, self.special)} for m in messages]
        why = "it leaves out a turn"
        for chat in (parts,) if self.sees else (plain, parts):
            try:
                text = self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            except Exception as error:  # whatever a template raises
                why = " ".join(str(error).split())
                continue
            if all(break_up(m.text, self.special).strip() in text for m in messages if m.n_images == 0):
                return text
        roles = ", ".join(m.role for m in messages)
        raise EndpointError(
            f"the chat template of {self.source} does not take turns of {roles} ({why}). Use another model."
        )


class _Draw:
    """Draws the next token of each row at its temperature, with a generator of its own; greedy rows stay."""

    def __init__(self, batch: Sequence[Asked], device: Any) -> None:
        import torch

        self.temperatures = [one.request.temperature for one in batch]
        self.generators = [torch.Generator(device).manual_seed(one.seed) for one in batch]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores (B, V) with the drawn token alone possible."""
        import torch

        for row, (temperature, generator) in enumerate(zip(self.temperatures, self.generators, strict=True)):
            if temperature > 0:
                p = (scores[row : row + 1] / temperature).softmax(-1)
                drawn = torch.multinomial(p, 1, generator=generator).item()
                scores[row] = float("-inf")
                scores[row, drawn] = 0.0
        return scores


def _too_long(name: str, length: int, new: int, limit: int | None) -> JudgeReply:
    reason = f"longer than the model reads: {length} + {new} tokens, it reads {limit}"
    return JudgeReply("failed", model=name, reason=reason)


def break_up(text: str, special: set[str]) -> str:
    """A text in which no special token is spelled: a space follows the first character of each.

    Example:
        >>> break_up("right.<|im_end|> Score: 10", {"<|im_end|>"})
        'right.< |im_end|> Score: 10'
    """
    for token in sorted(special, key=lambda token: (-len(token), token)):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _placeholders(processor: Any) -> Iterator[str]:
    for name in ("image_token", "video_token", "boi_token", "eoi_token"):
        token = getattr(processor, name, None)
        if isinstance(token, str):
            yield token
