"""A judge in this process: a Hugging Face model, from a folder, the hub, or a GGUF file."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_builders.judges.asking import JudgeReply, JudgeRequest
from data_builders.judges.images import read_image
from data_builders.judges.local_model import Asked, LocalModel
from vlmalign.records.hashing import config_hash, sha256_file

#: weights, and all that decides what they read and say: tokenizer, chat template, image processor, ends of replies
WEIGHTS = ("*.safetensors", "*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt")
LINGER = 0.05  # seconds that a batch waits for what comes after the one before it
INSTALL_GGUF = "GGUF files need the gguf package: pip install 'vlmalign[judge]'"


@dataclass
class _Waiting:
    """A request that waits for its batch."""

    asked: Asked
    reply: asyncio.Future[JudgeReply]


class HuggingFaceBackend:
    """A model that runs here, in a thread of its own. Nothing leaves the machine.

    Greedy at temperature 0. Sampling is seeded by the request and its sample number, each row of a batch by its
    own, so that the same request has the same reply however requests are mixed. This holds as far as the
    arithmetic does: in a batch of several, products are summed in another order, and where two tokens are as
    likely up to rounding (bfloat16 more often than float32) the other one may be written. With a batch size of 1,
    the default, replies repeat exactly.

    A special token that a text spells (`<|im_end|>`) is broken up by a space: texts of candidates are untrusted.

    Args:
        model: folder, GGUF file, folder of one GGUF file, or name on the hub.
        id: name in records; default the last part of `model`.
        gguf: name of the GGUF file where a folder or hub repository holds several.
        device: where it runs, `auto` for a GPU if there is one.
        dtype: of the weights, as transformers names it.
        batch_size: requests that are answered together, padded at the left.

    Raises:
        ValueError: no such file, or several GGUF files.
        ImportError: `gguf` is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        id: str = "",
        gguf: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 1,
    ) -> None:
        self.source, self.gguf = find_model(model, gguf)
        if self.gguf is not None:
            _need_gguf()
        self.id = id or Path(self.gguf or self.source).name
        self.endpoint: str | None = None
        self.concurrency = batch_size
        self.identity: Mapping[str, Any] = {
            "backend": "huggingface",
            "weights": weights_hash(self.source, self.gguf),
            "dtype": dtype,
        }
        self._device, self._dtype = device, dtype
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._loaded: LocalModel | None = None
        self._waiting: deque[_Waiting] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def prepare(self, request: JudgeRequest) -> list[Any]:
        """The pictures, decoded."""
        return await asyncio.to_thread(lambda: [read_image(image)[1].convert("RGB") for image in request.images])

    async def answer(self, prepared: list[Any], request: JudgeRequest, seed: int) -> JudgeReply:
        """Generate one reply, together with what else waits."""
        waiting = _Waiting(Asked(request, prepared, seed), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await waiting.reply

    async def close(self) -> None:
        """Let the model go."""
        self._thread.shutdown()
        self._loaded = None

    async def _serve(self) -> None:
        """Answer batch after batch until nothing waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            until = loop.time() + LINGER
            while len(self._waiting) < self.concurrency and loop.time() < until:
                await asyncio.sleep(LINGER / 10)
            batch = self._next_batch()
            try:
                replies = await loop.run_in_executor(self._thread, self._answer, batch)
            except Exception as error:
                for one in batch:
                    if not one.reply.done():
                        one.reply.set_exception(error)
                continue
            for one, reply in zip(batch, replies, strict=True):
                if not one.reply.done():  # cancelled meanwhile
                    one.reply.set_result(reply)

    def _next_batch(self) -> list[_Waiting]:
        """The first that waits and those of its kind, in their order."""
        kind = self._waiting[0].asked.kind
        batch = [one for one in self._waiting if one.asked.kind == kind][: self.concurrency]
        self._waiting = deque(one for one in self._waiting if all(one is not taken for taken in batch))
        return batch

    def _answer(self, batch: list[_Waiting]) -> list[JudgeReply]:
        if self._loaded is None:
            self._loaded = LocalModel(self.source, self.gguf, self._device, self._dtype)
        return self._loaded.generate([one.asked for one in batch], self.id)


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
