"""What files tell of data and models; each fact is a list of findings, empty where no file tells it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from vlmalign.evaluation.checklists.evidence import EvidenceFiles, JsonFile, TrainingRun
from vlmalign.records.manifest import RECORDS

#: findings of one fact that are told one by one; of more the first are
MOST = 8
ATTRIBUTES = ("sex", "age_band", "site")
HYPERPARAMETERS = ("epochs", "max_steps", "batch_size", "learning_rate", "lr_schedule", "weight_decay", "lora",
                   "freeze", "loss", "dtype")  # fmt: skip
LEFT_OUT = ("dropped", "skipped", "excluded", "cases_without", "invalid", "duplicates")
DECODING = ("temperature", "top_p", "max_new_tokens", "n", "seed")


class Evidence(NamedTuple):
    """What a file tells.

    Attributes:
        value: in words.
        file: which.
    """

    value: str
    file: str


Fact = Callable[[EvidenceFiles], list[Evidence]]


def short(value: Any) -> str:
    """A setting in words: only the last part of a path, and no more than 100 characters.

    Example:
        >>> short({"model": "/home/x/sft", "epochs": 2})
        'model sft, epochs 2'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {short(inner)}" for key, inner in value.items())[:100]
    if isinstance(value, list | tuple):
        return ", ".join(short(inner) for inner in value)[:100]
    text = str(value)
    return PurePath(text).name if text.startswith(("/", "~", "./", "../")) else text[:100]


def data_sources(files: EvidenceFiles) -> list[Evidence]:
    """Where cases come from, and how many."""
    return [
        Evidence(f"{_what(m)}: {_counts(m, 'records', 'groups', 'images')}", m.name) for m in files.of_kind("case")
    ]


def data_licence(files: EvidenceFiles) -> list[Evidence]:
    """The licence, where the source knows it."""
    return _notes(files, "licence", "license")


def grouping(files: EvidenceFiles) -> list[Evidence]:
    """What a group is: patient, slide, photograph."""
    return _notes(files, "grouping")


def labels(files: EvidenceFiles) -> list[Evidence]:
    """Who or what says what is true: notes of the source, experts, builders."""
    made = [
        Evidence(f"{m.data['kind']}s by {short(m.data['config'].get('expert') or m.data['config']['builder'])}: "
                 f"{_counts(m, 'records')}", m.name)
        for m in files.of_kind("finding", "preference", "demonstration")
        if isinstance(m.data.get("config"), Mapping)
        and (m.data["config"].get("builder") or m.data["config"].get("expert"))
    ]  # fmt: skip
    return [*_notes(files, "labels"), *made]


def preprocessing(files: EvidenceFiles) -> list[Evidence]:
    """The settings that made the folders of cases."""
    return [
        Evidence(short(config), m.name) for m in files.of_kind("case") if (config := m.data.get("config"))
    ]  # fmt: skip


def split_by_group(files: EvidenceFiles) -> list[Evidence]:
    """Roles that `vlmalign data split` gave out group by group."""
    return [
        Evidence(f"role {config['role']}: {_counts(m, 'groups', 'records')}; whole groups, seed "
        f"{config.get('seed')}",
                 m.name)
        for m in files.of_kind("case")
        if str((config := m.data.get("config") or {}).get("builder", "")).startswith("split@") and "role" in config
    ]  # fmt: skip


def population(files: EvidenceFiles) -> list[Evidence]:
    """Sex, age band and site of the cases, where the source tells them."""
    found = []
    for manifest in files.of_kind("case"):
        told: dict[str, Counter[str]] = {name: Counter() for name in ATTRIBUTES}
        records = manifest.path.with_name(RECORDS)
        if not records.is_file():
            continue
        with open(records, encoding="utf-8") as lines:
            for line in lines:
                attributes = json.loads(line).get("attributes") or {}
                for name in ATTRIBUTES:
                    told[name][str(attributes.get(name) or "not told")] += 1
        known = {name: counts for name, counts in told.items() if set(counts) - {"not told"}}
        if known:
            words = [
                f"{name.replace('_', ' ')} " + ", ".join(f"{value} {n}" for value, n in sorted(counts.items()))
                for name, counts in known.items()
            ]
            found.append(Evidence("; ".join(words), manifest.name))
    return found


def selection_counts(files: EvidenceFiles) -> list[Evidence]:
    """What builders left out, by reason."""
    return [
        Evidence(", ".join(f"{n} {name.replace('_', ' ')}" for name, n in left.items()), m.name)
        for m in files.of_kind("case", "preference", "demonstration")
        if (left := {k: n for k, n in (m.data.get("counts") or {}).items() if k.startswith(LEFT_OUT)})
    ]  # fmt: skip


def fingerprints(files: EvidenceFiles) -> list[Evidence]:
    """Hashes of the records."""
    return [
        Evidence(f"records {m.data['records_sha256'][:12]}", m.name)
        for m in files.manifests
        if m.data.get("records_sha256")
    ]


def data_use(files: EvidenceFiles) -> list[Evidence]:
    """Where the data may be sent."""
    return [Evidence(str(m.data["data_use"]), m.name) for m in files.manifests if m.data.get("data_use")]


def pseudonyms(files: EvidenceFiles) -> list[Evidence]:
    """How patients are kept unnamed."""
    return _notes(files, "patients")


def prompts(files: EvidenceFiles) -> list[Evidence]:
    """The prompts that cases ask with."""
    return [
        Evidence("; ".join(repr(str(prompt)) for prompt in given[:3]), m.name)
        for m in files.of_kind("case")
        if (given := (m.data.get("config") or {}).get("prompts"))
    ]


def decoding(files: EvidenceFiles) -> list[Evidence]:
    """How answers were sampled."""
    return [
        Evidence(f"{c.get('policy', 'answers')}: {short({k: c[k] for k in DECODING if k in c})}", m.name)
        for m in files.of_kind("candidate")
        if "temperature" in (c := m.data.get("config") or {})
    ]  # fmt: skip


def base_model(files: EvidenceFiles) -> list[Evidence]:
    """The starting model by name and hash."""
    found = []
    for run in files.runs:
        told = run.of("provenance", "model")
        if told is not None:
            named = run.of("config", "model")
            name = "" if named is None else f"{short(named[0])}, "
            found.append(Evidence(f"{run.name} starts from {name}weights {str(told[0])[:12]}", told[1]))
    return found


def architecture(files: EvidenceFiles) -> list[Evidence]:
    """The trained model's classes."""
    return _of_runs(files, "model", "architectures", lambda run, told: f"{run.name}: {short(told)}")


def training_data(files: EvidenceFiles) -> list[Evidence]:
    """Hashes of what each run learnt from."""
    return _of_runs(
        files, "provenance", "data",
        lambda run, told: f"{run.name} learnt from "
        + ", ".join(f"{short(k)} {str(v)[:12]}" for k, v in told.items()),
    )  # fmt: skip


def hyperparameters(files: EvidenceFiles) -> list[Evidence]:
    """The settings of each training run."""
    return [
        Evidence(f"{run.name}: {short({k: c.data[k] for k in HYPERPARAMETERS if c.data.get(k)})}", c.name)
        for run in files.runs
        if (c := run.config) is not None and c.data
    ]


def validation_data(files: EvidenceFiles) -> list[Evidence]:
    """Data that a run was watched on while it trained."""
    return _of_runs(files, "config", "eval_data", lambda run, told: f"{run.name}: {len(told)} folders")


def seeds(files: EvidenceFiles) -> list[Evidence]:
    """Seeds of training runs."""
    return _of_runs(files, "provenance", "seed", lambda run, seed: f"{run.name}: seed {seed}")


def versions(files: EvidenceFiles) -> list[Evidence]:
    """Versions of Python and libraries."""
    return _of_runs(files, "provenance", "versions", lambda run, told: f"{run.name}: {short(told)}")


def compute(files: EvidenceFiles) -> list[Evidence]:
    """Operations and seconds of training runs that are complete."""
    found = []
    for run in files.runs:
        told = run.of("summary", "flops")
        if told is not None:
            seconds = run.of("summary", "seconds_of_this_session")
            time = "" if seconds is None else f", {seconds[0]:g} s in the last session"
            found.append(Evidence(f"{run.name}: {told[0].get('total', 0):.3g} operations{time}", told[1]))
    return found


def trained_parameters(files: EvidenceFiles) -> list[Evidence]:
    """How many parameters were trained."""
    return _of_runs(files, "summary", "trained_parameters", lambda run, n: f"{run.name}: {n:,} parameters trained")


def _of_runs(
    files: EvidenceFiles, kind: str, key: str, words: Callable[[TrainingRun, Any], str]
) -> list[Evidence]:
    return [Evidence(words(run, told[0]), told[1]) for run in files.runs if (told := run.of(kind, key))]


def _notes(files: EvidenceFiles, *names: str) -> list[Evidence]:
    """A note of manifests; one that says that it is not known tells nothing."""
    found = []
    for manifest in files.manifests:
        notes = manifest.data.get("notes") or {}
        text = next((str(notes[name]) for name in names if notes.get(name)), "")
        if text and not text.lower().startswith("not known"):
            found.append(Evidence(text, manifest.name))
    return found


def _what(manifest: JsonFile) -> str:
    config = manifest.data.get("config") or {}
    return short(config.get("source") or config.get("builder") or "cases")


def _counts(manifest: JsonFile, *names: str) -> str:
    counts = manifest.data.get("counts") or {}
    return ", ".join(f"{counts[name]:,} {name}" for name in names if name in counts)
