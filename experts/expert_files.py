"""The folder of an adopted expert: `expert.json` with card and settings, and weights as safetensors.

The version is the hash of the settings and of every weight file: a threshold or a class order that changes is
another expert, just as other weights are.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from experts.protocol import ExpertCard
from vlmalign.records import DataError
from vlmalign.records.hashing import config_hash, sha256_file
from vlmalign.records.image import check_relative
from vlmalign.records.manifest import write_atomic

CARD = "expert.json"
PERFORMANCE_UNKNOWN = "Performance unknown: nobody has measured it on held-out cases yet."
REMEDY = "Adopt or train the expert again with --overwrite, or restore the file."
S = TypeVar("S", bound=BaseModel)


def version_of(settings: BaseModel, folder: Path, files: tuple[str, ...] = ()) -> str:
    """First 12 hexadecimal digits of the hash of settings and files.

    Args:
        settings: how the files are used.
        folder: where the files are.
        files: names inside the folder.

    Raises:
        DataError: a file is missing.
    """
    check_files(folder, files)
    hashes = {name: sha256_file(folder / name) for name in sorted(files)}
    return config_hash({"settings": settings.model_dump(mode="json"), "files": hashes})[:12]


def write_expert(folder: str | Path, card: ExpertCard, settings: BaseModel, files: tuple[str, ...] = ()) -> Path:
    """Write `expert.json`, with the version that the folder's files and the settings give; it marks completeness.

    Args:
        folder: already holds the files.
        card: its version is replaced.
        settings: of the architecture.
        files: the files that decide what the expert says, relative to the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    card = card.model_copy(update={"version": version_of(settings, folder, files)})
    content = {"card": card.model_dump(mode="json"), "settings": settings.model_dump(mode="json")}
    write_atomic(folder / CARD, (json.dumps(content, sort_keys=True, indent=2) + "\n").encode())
    return folder


def read_expert(folder: str | Path, settings: type[S]) -> tuple[ExpertCard, S]:
    """Card and settings of an expert.

    Raises:
        DataError: `expert.json` is missing or not what `settings` describes.
    """
    file = Path(folder) / CARD
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        card = ExpertCard.model_validate_json(json.dumps(content["card"]))
        return card, settings.model_validate_json(json.dumps(content["settings"]))
    except FileNotFoundError:
        raise DataError("not an expert: expert.json is missing", REMEDY, file=folder) from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DataError(f"expert.json is not readable ({error})", REMEDY, file=file) from None


def check_files(folder: Path, files: tuple[str, ...]) -> None:
    """Refuse an expert that is not whole.

    Raises:
        DataError: a file is missing.
    """
    for name in files:
        if not (folder / name).is_file():
            raise DataError(
                f"the expert's file {name} is missing",
                "Adopt or train it again, or restore the file.",
                file=folder,
            )


def check_version(folder: Path, card: ExpertCard, settings: BaseModel, files: tuple[str, ...]) -> None:
    """Refuse files or settings that are not those the card was written for.

    Raises:
        DataError: a file is missing, or the hash differs.
    """
    found = version_of(settings, folder, files)
    if found != card.version:
        raise DataError(
            f"the hash of settings and weights is {found}, the card says {card.version}",
            REMEDY,
            file=folder / CARD,
        )


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; anything that may be pickled is refused unread.

    Raises:
        DataError: the file is missing, damaged, or not safetensors.
    """
    file = Path(file)
    if file.suffix != ".safetensors":
        raise DataError(
            f"{file.name} is not safetensors: pickled weights can run code when they are read",
            "Convert them with safetensors.torch.save_file in a place that you trust.",
            file=file,
        )
    if not file.is_file():
        raise DataError("the weights are missing", "Check the path, or restore the file.", file=file)
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"the weights cannot be read ({error})", "Restore the file.", file=file) from None


def load_weights(network: nn.Module, file: str | Path) -> nn.Module:
    """Put a file's weights into a network, whole, and make it ready to examine.

    Raises:
        DataError: names or shapes of the weights are not the network's, e.g. for another number of classes.
    """
    weights = read_weights(file)
    own = network.state_dict()
    wrong = [
        f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    if missing:
        wrong.append(f"{len(missing)} are missing, e.g. {missing[0]}")
    if extra:
        wrong.append(f"{len(extra)} are unknown to it, e.g. {extra[0]}")
    if wrong:
        raise DataError(
            f"the weights do not fit the network: {'; '.join(wrong[:3])}",
            "Check the architecture's name, its arguments and the number of classes.",
            file=file,
        )
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def inside(folder: Path, name: str) -> Path:
    """A path in an expert's folder.

    Raises:
        ValueError: the name leads out of the folder.
    """
    return folder / check_relative(name)


def check_place(out: Path) -> None:
    """Refuse a place where something else than an expert is, before any work.

    Raises:
        DataError: a file, or a folder that is neither empty nor an expert's.
    """
    if out.is_file():
        raise DataError("the output path is a file", "Choose another folder.", file=out)
    if out.is_dir() and any(out.iterdir()) and not (out / CARD).is_file():
        raise DataError("the folder is not empty and holds no expert", "Choose another folder.", file=out)


def refuse_another(made: Path, out: Path, *, overwrite: bool) -> bool:
    """Whether the expert that was made is in its place already.

    Raises:
        DataError: another expert is there and `overwrite` is false.
    """
    if not (out / CARD).is_file():
        return False
    if (made / CARD).read_bytes() == (out / CARD).read_bytes():
        return True
    if not overwrite:
        raise DataError(
            "another expert is here", "Choose another folder, or pass --overwrite to replace it.", file=out
        )
    return False


def put_in_place(made: Path, out: Path, *, overwrite: bool) -> Path:
    """Move a complete expert to where it shall be; where the same expert is already, nothing is done.

    Args:
        made: a complete expert's folder on the same disk.
        out: see `check_place`.
        overwrite: replace another expert.

    Raises:
        DataError: another expert is there and `overwrite` is false.
    """
    if refuse_another(made, out, overwrite=overwrite):
        return out
    if (out / CARD).is_file():
        shutil.rmtree(out)
    elif out.is_dir():
        out.rmdir()  # empty, by `check_place`
    made.rename(out)
    return out
