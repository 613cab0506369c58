"""A judge in this process: a Hugging Face model, from a folder, the hub, or a GGUF file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data_builders.judges.asking import JudgeReply, JudgeRequest
from data_builders.judges.backend import EndpointError
from data_builders.judges.images import read_image
from vlmalign.records import Message
from vlmalign.records.hashing import config_hash, sha256_file

WEIGHTS = ("*.safetensors", "config.json", "tokenizer.json", "chat_template.*", "processor_config.json")
INSTALL_GGUF = "GGUF files need the gguf package: pip install 'vlmalign[judge]'"


class HuggingFaceBackend:
    """A model that runs here, one request at a time, in a thread of its own. Nothing leaves the machine.

    Greedy at temperature 0. Sampling is seeded by the request and its sample number, so that the same request has
    the same reply however requests are mixed. A special token that a text spells (`<|im_end|>`) is broken up by a
    space: texts of candidates are untrusted.

    Args:
        model: folder, GGUF file, folder of one GGUF file, or name on the hub.
        id: name in records; default the last part of `model`.
        gguf: name of the GGUF file where a folder or hub repository holds several.
        device: where it runs, `auto` for a GPU if there is one.
        dtype: of the weights, as transformers names it.

    Raises:
        ValueError: no such file, or several GGUF files.
        ImportError: `gguf` is not installed.
    """

    def __init__(
        self, model: str, *, id: str = "", gguf: str | None = None, device: str = "auto", dtype: str = "auto"
    ) -> None:
        self.source, self.gguf = find_model(model, gguf)
        if self.gguf is not None:
            _need_gguf()
        self.id = id or Path(self.gguf or self.source).name
        self.endpoint: str | None = None
        self.concurrency = 1
        self.identity: Mapping[str, Any] = {
            "backend": "huggingface",
            "weights": weights_hash(self.source, self.gguf),
            "dtype": dtype,
        }
        self._device, self._dtype = device, dtype
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._loaded: _Loaded | None = None

    async def prepare(self, request: JudgeRequest) -> list[Any]:
        """The pictures, decoded."""
        return await asyncio.to_thread(lambda: [read_image(image)[1].convert("RGB") for image in request.images])

    async def answer(self, prepared: list[Any], request: JudgeRequest, seed: int) -> JudgeReply:
        """Generate one reply."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._answer, prepared, request, seed
        )

    async def close(self) -> None:
        """Let the model go."""
        self._thread.shutdown()
        self._loaded = None

    def _answer(self, pictures: list[Any], request: JudgeRequest, seed: int) -> JudgeReply:
        if self._loaded is None:
            self._loaded = _Loaded(self.source, self.gguf, self._device, self._dtype)
        return self._loaded.generate(request, pictures, seed, self.id)


class _Loaded:
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
        self.tokenizer: Any = tokenizer
        self.source = source
        self.special = {str(t) for t in tokenizer.all_special_tokens} | set(_placeholders(self.processor))
        ends = self.model.generation_config.eos_token_id
        self.ends = set(ends) if isinstance(ends, list) else {ends, tokenizer.eos_token_id}

    def generate(self, request: JudgeRequest, pictures: list[Any], seed: int, name: str) -> JudgeReply:
        import torch

        if pictures and not self.sees:
            raise EndpointError(
                f"{name} reads text only, and the request has {len(pictures)} image(s). Choose a model that sees "
                "images, or a protocol without them."
            )
        inputs = self._inputs(request.messages, pictures)
        start = inputs["input_ids"].shape[1]
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and start + request.max_tokens > limit:
            reason = f"longer than the model reads: {start} + {request.max_tokens} tokens, it reads {limit}"
            return JudgeReply("failed", model=name, reason=reason)
        drawn: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if request.temperature > 0:
            drawn = {"do_sample": True, "temperature": request.temperature, "top_p": 1.0, "top_k": 0}
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            out = self.model.generate(**inputs, **drawn, max_new_tokens=request.max_tokens)
        written = out[0, start:].tolist()
        text = self.tokenizer.decode(written, skip_special_tokens=True).strip()
        tokens = (start, len(written))
        if not self.ends & set(written[-1:]):
            return JudgeReply("cut", text, name, "the token limit was reached", *tokens)
        if not text:
            return JudgeReply("failed", "", name, "the reply is empty", *tokens)
        return JudgeReply("answered", text, name, "", *tokens)

    def _inputs(self, messages: tuple[Message, ...], pictures: list[Any]) -> Any:
        text = self._rendered(messages)
        starts = self.tokenizer.bos_token is not None and text.startswith(self.tokenizer.bos_token)
        more = {"images": pictures} if pictures else {}
        return self.processor(text=[text], return_tensors="pt", add_special_tokens=not starts, **more).to(
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


def find_model(model: str, gguf: str | None) -> tuple[str, str | None]:
    """Where a model lies: folder (or hub name), and the GGUF file in it, if it is one.

    Raises:
        ValueError: a path that is not there; a folder of several GGUF files, and none is named.
    """
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"model is {model!r}: there is no such file. Check the path.")
        return str(path.parent), path.name
    if not path.is_dir():
        if path.is_absolute() or model.startswith((".", "~")):
            raise ValueError(f"model is {model!r}: there is no such folder. Check the path.")
        return model, gguf
    if gguf is not None and not (path / gguf).is_file():
        raise ValueError(f"gguf is {gguf!r}: {model} has no such file. Check its name.")
    files = sorted(file.name for file in path.glob("*.gguf"))
    if gguf is None and files and not (path / "config.json").is_file():
        if len(files) > 1:
            raise ValueError(f"{model} holds {len(files)} GGUF files ({', '.join(files)}): name one with gguf.")
        gguf = files[0]
    return str(path), gguf


def weights_hash(source: str, gguf: str | None) -> str:
    """Hash of a model's files; of a name on the hub, the name itself."""
    folder = Path(source)
    if not folder.is_dir():
        return config_hash({"hub": source, "gguf": gguf})
    if gguf is not None:
        return sha256_file(folder / gguf)
    files = sorted({file for pattern in WEIGHTS for file in folder.glob(pattern)})
    return config_hash({file.name: sha256_file(file) for file in files})


def _need_gguf() -> None:
    import importlib.util

    if importlib.util.find_spec("gguf") is None:
        raise ImportError(INSTALL_GGUF)
