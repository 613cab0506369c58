"""The run folder: what was asked, with which data and versions, how it went, and the model.

```
config.yaml      the resolved settings
provenance.json  stage, versions, hashes of data and starting model
metrics.jsonl    one line per logging step
reference.safetensors  dpo: log-probabilities of the answers before the first step
checkpoints/     while training
model/           what from_pretrained loads, LoRA merged
adapter/         with LoRA: the adapter alone
summary.json     the last file written: its presence says that the run is complete
```
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import yaml
from accelerate import PartialState

from vlmalign.models.builtin import resolve_checkpoint
from vlmalign.models.loading import check_folder, model_folder
from vlmalign.records import read_manifest
from vlmalign.records.hashing import config_hash, sha256_file
from vlmalign.records.leakage import check_no_leakage
from vlmalign.records.manifest import write_atomic
from vlmalign.training.checkpoints import PARTIAL, replace_folder
from vlmalign.training.config import RunConfig
from vlmalign.training.processes import start_processes

CONFIG, PROVENANCE, METRICS, SUMMARY = "config.yaml", "provenance.json", "metrics.jsonl", "summary.json"
CHECKPOINTS, MODEL, ADAPTER = "checkpoints", "model", "adapter"
REFERENCE = "reference.safetensors"
PACKAGES = ("vlmalign", "torch", "transformers", "accelerate", "peft", "safetensors", "numpy")


class RunFolder:
    """A stage's output folder, new, unfinished or complete.

    Making the object joins the processes of the run, and otherwise only looks and refuses. The folder is written
    by `begin`, which a stage calls once its model and its data have loaded: a command that fails before leaves no
    trace, and no gap where a run was.

    With `overwrite`, an earlier run is replaced by `begin`: it is renamed aside, to `.NAME.overwritten`, the new
    run takes its place, and then it is deleted. A kill in between leaves the old run whole in one of the two
    places, and the next command puts it back. An unfinished run of the very same settings, data, model and
    versions is continued, as it would end with the same bits: so the same command, --overwrite included,
    continues after a kill.

    Args:
        stage: name of the stage.
        config: its settings; `config.out` is the folder.
        overwrite: replace an earlier run there.
        identity: whatever else makes it another run, by name.

    Raises:
        FileExistsError: the folder holds another run, or something else.
        ValueError: the run to replace holds the model or the data to train on; or what `start_processes` refuses.
        DataError: data and evaluation data share a group or an image, or a folder is missing.
    """

    def __init__(
        self,
        stage: str,
        config: RunConfig,
        *,
        overwrite: bool = False,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        start_processes(config)
        self.path = Path(config.out)
        self.config = config
        check_no_leakage(
            [source.path for source in (*config.data, *_anchors(config))],
            [source.path for source in config.eval_data],
            max_bits=config.near_duplicate_bits,
        )
        known = {"stage": stage, "data": data_hashes(config), "model": model_hash(config.model)}
        versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
        self._provenance = {**known, **(identity or {}), "seed": config.seed, "versions": versions}
        self._provenance["processes"] = PartialState().num_processes
        self._aside = self.path.with_name(f".{self.path.name}.overwritten")
        if (self._aside / CONFIG).is_file() and not self.path.exists():  # killed while it was replaced
            with suppress(FileNotFoundError):  # another process of this run has done it
                os.replace(self._aside, self.path)
        self._found = self._look(overwrite)
        PartialState().wait_for_everyone()  # all must have looked before one writes

    def begin(self) -> None:
        """Make the folder, or put a new run in the place of the one to overwrite; a run to continue is kept."""
        with PartialState().main_process_first():
            if not PartialState().is_main_process:
                return
            if self._found == "replace":
                self._replace()
            elif self._found == "new":
                self._create()
            shutil.rmtree(self._aside, ignore_errors=True)
            self._found = "ours"

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return self._found == "ours" and (self.path / SUMMARY).is_file()

    @property
    def continues(self) -> bool:
        """Whether what lies in the folder is of this run."""
        return self._found == "ours"

    @property
    def reference(self) -> Path:
        """The reference's log-probabilities, where a stage has them."""
        return self.path / REFERENCE

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept while training."""
        return self.path / CHECKPOINTS

    @property
    def model(self) -> Path:
        """The trained model's folder."""
        return self.path / MODEL

    @property
    def adapter(self) -> Path:
        """A LoRA run's adapter alone."""
        return self.path / ADAPTER

    def log(self, line: Mapping[str, Any], name: str = METRICS) -> None:
        """Append one line, which says its step, to metrics.jsonl or another such file."""
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int, name: str = METRICS, *, evaluated_again: bool = False) -> None:
        """Drop lines of what a resumed run will do again, and a half-written one.

        Args:
            step: the last one that is not taken again.
            name: of the file.
            evaluated_again: the model is evaluated again after that step.
        """
        path = self.path / name
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                break
            again = evaluated_again and entry["step"] == step and any(key.startswith("eval_") for key in entry)
            if entry["step"] <= step and not again:
                kept.append(line + "\n")
        write_atomic(path, "".join(kept).encode())

    def save_model(self, save: Callable[[Path], None]) -> None:
        """Write the trained model, whole or not at all; every process calls this, as each may hold a part of it.

        Args:
            save: writes it into a folder, in the main process.
        """
        folder, main = self.model.with_name(self.model.name + PARTIAL), PartialState().is_main_process
        if main:
            shutil.rmtree(folder, ignore_errors=True)
        save(folder)
        if main:
            replace_folder(folder, self.model)

    def finish(self, summary: Mapping[str, Any]) -> Path:
        """Write summary.json, which marks the run as complete, and delete its checkpoints."""
        text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False)
        write_atomic(self.path / SUMMARY, (text + "\n").encode())
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return self.path

    # -- starting -----------------------------------------------------------------------------------

    def _create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / REFERENCE).unlink(missing_ok=True)  # of settings that were corrected
        write_atomic(self.path / CONFIG, _to_yaml(self.config).encode())
        text = json.dumps(self._provenance, indent=2, sort_keys=True) + "\n"
        write_atomic(self.path / PROVENANCE, text.encode())

    def _replace(self) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)
        os.replace(self.path, self._aside)
        try:
            self._create()
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            os.replace(self._aside, self.path)
            raise

    def _only_begun(self) -> bool:
        """Whether nothing was trained: a first step that fails must not block corrected settings."""
        return {path.name for path in self.path.iterdir()} <= {CONFIG, PROVENANCE, REFERENCE}

    def _look(self, overwrite: bool) -> Literal["new", "ours", "replace"]:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return "new"
        if not (self.path / CONFIG).is_file():
            raise FileExistsError(f"{self.path} exists and is not a run folder. Choose another `out`.")
        if not (self.path / PROVENANCE).is_file():  # killed between the first two files
            return "new"
        there = yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))
        here = yaml.safe_load(_to_yaml(self.config))
        provenance = json.loads((self.path / PROVENANCE).read_text(encoding="utf-8"))
        changed = [f"{k}: {there.get(k)!r} there, {here.get(k)!r} here" for k in _differing(there, here, {"out"})]
        changed += [
            f"content of {k} changed"
            for k in _differing(provenance, self._provenance, {"seed", "versions", "processes"})
        ]
        processes = provenance.get("processes", 1), self._provenance["processes"]
        if processes[0] != processes[1] and not (self.path / SUMMARY).is_file():  # a step takes other examples
            changed.append("processes: {} there, {} here".format(*processes))
        if changed and self._only_begun():
            return "new"
        same_versions = provenance["versions"] == self._provenance["versions"]
        if overwrite and (changed or not same_versions or (self.path / SUMMARY).is_file()):
            self._check_not_its_own_source()
            return "replace"
        if changed:
            raise FileExistsError(
                f"{self.path} holds another run ({'; '.join(changed[:4])}). Choose another `out`, or pass "
                "--overwrite to replace it."
            )
        return "ours"

    def _check_not_its_own_source(self) -> None:
        config = self.config
        sources = {"model": config.model}
        sources |= {f"data {s.path}": s.path for s in (*config.data, *config.eval_data, *_anchors(config))}
        for name, path in sources.items():
            if Path(path).resolve().is_relative_to(self.path.resolve()):
                raise ValueError(
                    f"{name.split()[0]} is {path!r}, which is what --overwrite replaces. Choose another `out`."
                )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], ignore: set[str]) -> list[str]:
    return sorted(k for k in {*a, *b} - ignore if a.get(k) != b.get(k))


def _to_yaml(config: RunConfig) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _anchors(config: RunConfig) -> tuple[Any, ...]:
    return (*getattr(config, "anchor_data", ()), *getattr(config, "own_data", ()))


def data_hashes(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the records of every folder a configuration names, by path."""
    sources = (*config.data, *config.eval_data, *_anchors(config))
    return {source.path: read_manifest(source.path).records_sha256 for source in sources}


def model_hash(model: str | Path) -> str | None:
    """Hash of a model folder's weights and settings; None for a Hub id.

    Raises:
        FileNotFoundError: no such folder, one without a model, or a run that is not complete.
    """
    if (Path(model) / CONFIG).is_file() and not (Path(model) / SUMMARY).is_file():
        raise FileNotFoundError(f"{model} is a run that is not complete. Run its command again to finish it.")
    found = resolve_checkpoint(model_folder(model))
    check_folder(found)
    folder = Path(found)
    if not folder.is_dir():
        return None
    files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".jinja"))
    return config_hash({p.name: sha256_file(p) for p in files})
