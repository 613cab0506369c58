"""Where a CLIP model comes from: a folder, the Hub, or a known architecture with a file of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
HUB = "hf-hub:"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".npz", ".npy")


class ClipFiles(NamedTuple):
    """What open_clip needs to make a model.

    Attributes:
        name: as its factory takes it.
        tokenizer: as its tokenizer factory takes it.
        weights: a safetensors file.
        preprocess: settings of the picture's preparation that the name alone does not give.
    """

    name: str
    tokenizer: str
    weights: Path
    preprocess: dict[str, Any]


def find_clip(model: str | Path, checkpoint: str | Path | None) -> ClipFiles:
    """Find the files of a CLIP model; nothing that is pickled is ever touched.

    Args:
        model: a folder as open_clip writes it (`open_clip_config.json` and safetensors), `hf-hub:owner/name`, or
            the name of an architecture that open_clip knows.
        checkpoint: safetensors weights, for an architecture.

    Raises:
        FileNotFoundError: no such folder, file or Hub repository.
        ValueError: an unknown name, pickled weights, or a checkpoint too much or too few.
    """
    text = str(model)
    if Path(text).expanduser().is_dir():
        _refuse_checkpoint(checkpoint, text)
        folder = Path(text).expanduser()
        return ClipFiles(f"local-dir:{folder}", f"local-dir:{folder}", _weights_of(folder), {})
    if text.startswith(HUB):
        _refuse_checkpoint(checkpoint, text)
        folder, weights = _fetch(text.removeprefix(HUB))
        return ClipFiles(f"local-dir:{folder}", text, weights, {})
    return _architecture(text, checkpoint)


def _refuse_checkpoint(checkpoint: str | Path | None, model: str) -> None:
    if checkpoint is not None:
        raise ValueError(f"checkpoint is given and {model} has weights of its own: drop checkpoint.")


def _weights_of(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"{folder} has no {CONFIG}, expected a folder as open_clip writes it, which a CLIP of transformers is "
            "not: give such a folder, or the name of an architecture and a checkpoint."
        )
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()] or sorted(
        folder.glob("*.safetensors")
    )
    if found:
        return found[0]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        raise ValueError(_refusal(f"{folder} holds only {pickled[0]}"))
    raise FileNotFoundError(f"{folder} has no *.safetensors, expected the weights: copy them beside {CONFIG}.")


def _refusal(what: str) -> str:
    return (
        f"{what}, which may be pickled and could run code when it is read; expected safetensors: convert it with "
        "safetensors.torch.save_file in a place that you trust."
    )


def _fetch(repository: str) -> tuple[Path, Path]:
    """Folder of a Hub repository's configuration in the cache, and its safetensors weights."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    unreached: list[Exception] = []

    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name))
        except Exception as error:  # of whichever library speaks HTTP; a copy of another name may still be here
            if not isinstance(error, EntryNotFoundError) or isinstance(error, LocalEntryNotFoundError):
                unreached.append(error)
            return None

    config = fetch(CONFIG)
    weights = next((path for name in WEIGHTS if (path := fetch(name)) is not None), None)
    if unreached and (config is None or weights is None):
        why = (str(unreached[0]).splitlines() or [""])[0].rstrip(".")
        raise FileNotFoundError(
            f"{HUB}{repository} cannot be fetched ({type(unreached[0]).__name__}: {why}): check the name and the "
            "network."
        )
    if config is None:
        raise FileNotFoundError(f"{HUB}{repository} has no {CONFIG}, expected an open_clip model: use another.")
    if weights is None:
        raise ValueError(_refusal(f"{HUB}{repository} holds no {WEIGHTS[0]}, at most a .bin"))
    return config.parent, weights


def _architecture(name: str, checkpoint: str | Path | None) -> ClipFiles:
    import open_clip

    if name not in open_clip.list_models():
        raise FileNotFoundError(
            f"{name} is no folder and no architecture of open_clip (such as ViT-B-32): check it, or write "
            f"{HUB}owner/name for a model of the Hub."
        )
    if checkpoint is None:
        raise ValueError(f"{name} is an architecture without weights: give checkpoint, a safetensors file of it.")
    weights = Path(checkpoint).expanduser()
    if weights.suffix != ".safetensors":
        raise ValueError(_refusal(f"checkpoint is {weights}"))
    if not weights.is_file():
        raise FileNotFoundError(f"checkpoint {weights} is no file: check the path.")
    return ClipFiles(name, name, weights, _usual_preprocessing(name))


def _usual_preprocessing(name: str) -> dict[str, Any]:
    """How all published weights of an architecture want pictures to be prepared."""
    import open_clip

    keys = ("mean", "std", "interpolation", "resize_mode")
    known = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    kinds = {json.dumps({key: each[key] for key in keys if each.get(key) is not None}) for each in known}
    if len(kinds) > 1:
        raise ValueError(
            f"published weights of {name} want pictures prepared in {len(kinds)} ways and the checkpoint does not "
            f"say in which: give a folder with its {CONFIG} instead."
        )
    return json.loads(kinds.pop()) if kinds else {}


def no_foreign_code(name: str) -> dict[str, Any]:
    """Options of `open_clip.get_tokenizer` under which no code that lies beside a tokenizer is run.

    A folder's configuration may ask for it (`tokenizer_kwargs: {trust_remote_code: true}`), and open_clip obeys.

    Args:
        name: `ClipFiles.name`.
    """
    import open_clip

    place = name.removeprefix("local-dir:")
    if place == name:
        text = open_clip.get_model_config(name)["text_cfg"]
    else:
        text = json.loads((Path(place) / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    return {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
