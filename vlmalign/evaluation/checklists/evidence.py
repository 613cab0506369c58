"""The files that tell how something was made and measured, found below given folders."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from vlmalign.evaluation.figure_places import figures_in
from vlmalign.records import DataError
from vlmalign.records.manifest import MANIFEST

PROVENANCE, SUMMARY, CONFIG = "provenance.json", "summary.json", "config.yaml"
#: only folders of models have it
MODEL = "tokenizer_config.json"
#: folders without provenance or of a study's key, and those below this many levels are not looked into
SKIPPED = frozenset({"images", "checkpoints", "adapter", "shards", "private"})
DEEPEST = 6
#: a larger JSON file is data, not figures
LARGEST = 32_000_000


@dataclass(frozen=True)
class JsonFile:
    """A file that was read.

    Attributes:
        name: its path below the folder's own name; never an absolute path.
        data: what it holds.
        path: where it lies.
    """

    name: str
    data: Mapping[str, Any]
    path: Path = field(repr=False)

    @cached_property
    def figures(self) -> dict[str, Mapping[str, Any]]:
        """Every figure with its interval, by its dotted place."""
        return figures_in(self.data)


@dataclass(frozen=True)
class TrainingRun:
    """What a training run wrote of itself; None for a file that is not there.

    Attributes:
        name: of its folder.
        provenance: stage, seed, versions, hashes of data and starting model.
        summary: steps, operations, losses; present when the run is complete.
        config: all settings.
        model: the architecture of the trained model.
    """

    name: str
    provenance: JsonFile | None
    summary: JsonFile | None
    config: JsonFile | None
    model: JsonFile | None

    def of(self, kind: str, key: str) -> tuple[Any, str] | None:
        """A value of one of the files with the file's name, if it is there and not empty."""
        file: JsonFile | None = getattr(self, kind)
        value = None if file is None else file.data.get(key)
        return None if file is None or value is None or value == {} else (value, file.name)


@dataclass(frozen=True)
class EvidenceFiles:
    """All that was found.

    Attributes:
        manifests: of dataset folders.
        runs: training runs.
        figures: JSON files that hold figures with intervals.
        studies: reader studies.
    """

    manifests: Sequence[JsonFile] = ()
    runs: Sequence[TrainingRun] = ()
    figures: Sequence[JsonFile] = ()
    studies: Sequence[JsonFile] = ()

    def of_kind(self, *kinds: str) -> list[JsonFile]:
        """The manifests of such records."""
        return [manifest for manifest in self.manifests if manifest.data.get("kind") in kinds]

    @property
    def names(self) -> list[str]:
        """All files that were read."""
        of_runs = [f for run in self.runs for f in (run.provenance, run.summary, run.config, run.model) if f]
        return sorted(file.name for file in (*self.manifests, *of_runs, *self.figures, *self.studies))


def read_evidence(places: Sequence[str | Path]) -> EvidenceFiles:
    """Read every file of provenance below the given folders, and the given JSON files of figures.

    Args:
        places: runs, dataset folders, folders of these, or single JSON files written by `--json`.

    Raises:
        DataError: a place is not there, a file is damaged, or nothing was found.
    """
    manifests: list[JsonFile] = []
    runs: list[TrainingRun] = []
    figures: list[JsonFile] = []
    studies: list[JsonFile] = []
    for root, folder in _folders(places):
        here = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()} if folder.is_dir() else {
            folder.name: folder
        }  # fmt: skip

        def read(name: str, here: Mapping[str, Path] = here, root: Path = root) -> JsonFile | None:
            return _read(here[name], root) if name in here else None

        if MANIFEST in here:
            manifests += [found for found in [read(MANIFEST)] if found]
        elif PROVENANCE in here or SUMMARY in here:
            architecture = folder / "model" / "config.json"
            model = _read(architecture, root) if architecture.is_file() else None
            runs.append(TrainingRun(folder.name, read(PROVENANCE), read(SUMMARY), read(CONFIG), model))
        elif MODEL not in here:
            for path in here.values():
                if path.suffix == ".json" and path.stat().st_size <= LARGEST:
                    found = _read(path, root)
                    figures += [found] if found.figures else []
                    studies += [found] if path.name == "study.json" and "forms" in found.data else []
    read_all = EvidenceFiles(manifests, runs, figures, studies)
    if not read_all.names:
        raise DataError("no manifest, training run or figures below it",
                        "Give runs, dataset folders or JSON files that `--json` wrote.",
                        file=", ".join(map(str, places)))  # fmt: skip
    return read_all


def _folders(places: Sequence[str | Path]) -> Iterator[tuple[Path, Path]]:
    """Each folder once with the place that it was found below."""
    seen: set[Path] = set()
    for place in map(Path, places):
        if not place.exists():
            raise DataError("no such file or folder", "Check the path.", file=place)
        root = place.resolve()
        found = [Path(top) for top, folders, _ in _walk(root)] if root.is_dir() else [root]
        for folder in found:
            if folder not in seen:
                seen.add(folder)
                yield root, folder


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for top, folders, files in os.walk(root):
        depth = len(Path(top).relative_to(root).parts)
        inside_run = PROVENANCE in files or MANIFEST in files
        kept = [f for f in sorted(folders) if f not in SKIPPED and not f.startswith(".") and depth < DEEPEST]
        folders[:] = [f for f in kept if not (inside_run and f == "model")]
        yield top, folders, files


def _read(path: Path, root: Path) -> JsonFile:
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"it cannot be read: {' '.join(str(error).split())}",
                        "It is damaged: make it again, or leave it out.", file=path) from None  # fmt: skip
    name = Path(root.name) / path.relative_to(root) if path != root else Path(path.name)
    return JsonFile(name.as_posix(), data if isinstance(data, Mapping) else {}, path)
