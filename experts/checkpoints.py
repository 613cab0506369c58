"""The state of an unfinished training, one file an epoch, of which only complete ones are ever seen."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from vlmalign.records import DataError
from vlmalign.records.hashing import config_hash
from vlmalign.records.manifest import write_atomic

CONFIG = "config.json"


def is_complete(folder: Path, config: dict[str, Any], *, done: str, overwrite: bool) -> bool:
    """Whether a run of these settings is complete there. Nothing is written or removed: that is `take_folder`'s.

    Args:
        folder: may be absent.
        config: everything that decides the result.
        done: name of the file whose presence marks the run as complete.
        overwrite: the run that is there will be discarded.

    Raises:
        DataError: the folder is of other settings, or not a run folder.
    """
    file = folder / CONFIG
    if folder.exists() and not folder.is_dir():
        raise DataError("the output path is a file", "Choose another --out.", file=folder)
    if folder.exists() and any(folder.iterdir()):
        if not file.is_file():
            raise DataError(
                "the folder is not empty and holds no training run", "Choose another --out.", file=folder
            )
        if overwrite:
            return False
        if config_hash(there := json.loads(file.read_bytes())) != config_hash(config):
            here = json.loads(json.dumps(config))
            raise DataError(
                f"a run with other settings or other data is here ({'; '.join(_differences(there, here)[:4])})",
                "Choose another --out, or pass --overwrite to replace it.",
                file=file,
            )
        return (folder / done).is_file()
    return False


def take_folder(folder: Path, config: dict[str, Any], *, done: str, overwrite: bool) -> None:
    """Make the folder that of a run of these settings; call it when all that may be refused has been checked.

    Args:
        folder: `is_complete` has allowed it; created if absent.
        config: everything that decides the result; kept in `config.json`.
        done: name of the file whose presence marks the run as complete.
        overwrite: discard the run that is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for old in [folder / done, *epoch_files(folder), folder / CONFIG]:
            old.unlink(missing_ok=True)
    write_atomic(folder / CONFIG, (json.dumps(config, sort_keys=True, indent=2) + "\n").encode())


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Each setting that differs, with both values; those of mappings inside by dotted names."""
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return [] if there == here else [f"{name}: {there!r} there, {here!r} here"]
    found = []
    for key in sorted({*there, *here}):
        found += _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    return found


def epoch_files(folder: Path) -> list[Path]:
    """Complete epoch files, oldest first."""
    return sorted(folder.glob("epoch-*.pt"))


def save_epoch(folder: Path, epoch: int, state: dict[str, Any]) -> None:
    """Write an epoch's state whole, then remove the older ones."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    file = folder / f"epoch-{epoch:05d}.pt"
    write_atomic(file, buffer.getvalue())
    for old in epoch_files(folder):
        if old != file:
            old.unlink()


def load_newest(folder: Path) -> dict[str, Any] | None:
    """State of the newest complete epoch, or None before the first."""
    files = epoch_files(folder)
    return torch.load(files[-1], weights_only=True) if files else None
