"""What a run of many stages keeps of itself: the settings that claim its folder, versions, and results.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any


def claim(out: Path, settings: Mapping[str, object], file: str, what: str) -> None:
    """Refuse a folder in which the same with other settings was begun.

    Args:
        out: the folder.
        settings: to compare.
        file: where the folder keeps them.
        what: for messages.
    """
    path = out / file
    out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = {"align": ["dpo"], **json.loads(path.read_text())}  # demos that were begun before --align
        begun = any(any(folder.iterdir()) for folder in out.iterdir() if folder.is_dir())
        changed = [f"{k}: {old.get(k)!r} there, {v!r} here" for k, v in settings.items() if old.get(k) != v]
        if changed and begun:
            raise ValueError(
                f"{out} holds a {what} with other settings ({'; '.join(changed)}). Choose another --out."
            )
    elif any(out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no {what}. Choose another --out.")
    _write(path, settings)


def write_results(out: Path, results: Mapping[str, Any]) -> Path:
    """Write `results.json` of a finished run; a figure that is no number is refused."""
    path = out / "results.json"
    _write(path, results)
    return path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the packages that a run rests on.

    Example:
        >>> list(versions(["numpy"]))
        ['numpy']
    """
    return {name: metadata.version(name) for name in packages}


def _write(path: Path, data: Mapping[str, Any]) -> None:
    from vlmalign.records.writing import write_atomic

    write_atomic(path, (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())
