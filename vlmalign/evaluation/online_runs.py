"""What an online run (`vlmalign ppo`) leaves for evaluation: its evaluations on held-out cases, and answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vlmalign.records import DataError

#: figures of an evaluation on held-out cases, in metrics.jsonl under `eval_<name>`
FIGURES = (
    "kl", "kl_se", "reward", "reward_se", "reward_valid", "gold", "gold_se", "gold_valid", "tokens", "cut",
)  # fmt: skip
#: settings in which the seeds of one arm may differ
_OF_A_SEED = frozenset({"seed", "out", "model", "data", "eval_data", "device"})


@dataclass(frozen=True)
class LoggedAnswer:
    """An answer that a run wrote down while it trained.

    Attributes:
        round: in which.
        case: what it answers.
        words: how many.
    """

    round: int
    case: str
    words: int


@dataclass(frozen=True)
class OnlineRun:
    """One run, that is one seed.

    Attributes:
        path: its folder.
        seed: of training.
        algorithm: ppo, grpo or rloo.
        reward: what was maximised.
        gold: what was measured beside it; None: nothing was.
        kept: the round whose model was kept; None: the last one's.
        complete: whether the run was finished.
        settings: all that must agree within an arm, flat.
        evaluations: in the order of the run, each with `round` and `FIGURES`, None where not known.
        answers: that it wrote down.
        not_finite: figures that were NaN or infinite, and are not known therefore.
    """

    path: Path
    seed: int | None
    algorithm: str
    reward: str | None
    gold: str | None
    kept: int | None
    complete: bool
    settings: Mapping[str, Any]
    evaluations: Sequence[Mapping[str, Any]]
    answers: Sequence[LoggedAnswer] = field(default_factory=tuple)
    not_finite: int = 0


def evaluations(run: str | Path, figures: Sequence[str] = FIGURES) -> list[dict[str, Any]]:
    """What an online run was on the held-out cases, round by round; empty where it was not followed on any.

    Raises:
        DataError: a line of metrics.jsonl cannot be read.
    """
    return [
        {"round": line["step"], **{name: line.get(f"eval_{name}") for name in figures}}
        for line in _lines(Path(run) / "metrics.jsonl")
        if "eval_reward" in line
    ]


def read_online_run(folder: str | Path) -> OnlineRun:
    """Read a run folder of `vlmalign ppo`.

    Raises:
        DataError: no such run, a run of another stage, a damaged line, or no evaluation on held-out cases.
    """
    path = Path(folder)
    config = path / "config.yaml"
    if not config.is_file():
        raise DataError("it is not a run folder: config.yaml is missing", "Name the `out` of a vlmalign ppo.",
                        file=path)  # fmt: skip
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"it cannot be read: {' '.join(str(error).split())[:120]}", "Restore the file.",
                        file=config) from error  # fmt: skip
    if not isinstance(settings, dict) or "reward" not in settings or "samples" not in settings:
        raise DataError("it is not of an online run", "Name the `out` of a vlmalign ppo.", file=config)
    summary = {}
    if (path / "summary.json").is_file():
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    found = evaluations(path)
    if not found:
        raise DataError("the run has no evaluation on held-out cases",
                        "Train with eval_data and eval_steps, and with gold to know what is true.",
                        file=path / "metrics.jsonl")  # fmt: skip
    not_finite = 0
    for point in found:
        for name in FIGURES:
            value = point[name]
            if isinstance(value, float) and not math.isfinite(value):
                point[name] = None
                not_finite += 1
    return OnlineRun(
        path=path,
        seed=settings.get("seed"),
        algorithm=summary.get("algorithm", str((settings.get("advantage") or {}).get("name", "ppo"))),
        reward=summary.get("reward", _named(settings["reward"])),
        gold=summary.get("gold", _named(settings.get("gold"))),
        kept=summary.get("kept_round"),
        complete=bool(summary),
        settings={key: value for key, value in _flat(settings) if key.split(".")[0] not in _OF_A_SEED},
        evaluations=found,
        answers=_answers(path / "answers.jsonl"),
        not_finite=not_finite,
    )


def check_one_arm(name: str, runs: Sequence[OnlineRun]) -> None:
    """Runs that are pooled must be seeds of one setting. Paths may differ, as each seed may have its own folders.

    Raises:
        ValueError: two of them differ in a setting, or are copies of each other.
    """
    first = runs[0]
    for place, run in enumerate(runs):
        for other in runs[:place]:
            if (run.seed, run.evaluations) == (other.seed, other.evaluations):
                raise ValueError(f"{run.path} is the same run as {other.path}: give each seed once")
        differing = [
            key
            for key in dict.fromkeys((*first.settings, *run.settings))
            if first.settings.get(key) != run.settings.get(key)
            and not (_is_path(first.settings.get(key)) and _is_path(run.settings.get(key)))
        ]
        if differing:
            key = differing[0]
            raise ValueError(
                f"{run.path} is no seed of the same arm as {first.path}: {key} is {run.settings.get(key)!r}, not "
                f"{first.settings.get(key)!r} (arm {name!r}). Keep arms apart: NAME=RUN, the same name for each "
                "seed"
            )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise DataError("the file is missing", "Name the folder of a run that has begun.", file=path)
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise DataError("it is not JSON", "Restore the file; of a killed run, run its command again.",
                            file=path, line=number) from error  # fmt: skip
        if not isinstance(line, dict) or "step" not in line:
            raise DataError("it is no line of a run: `step` is missing", "Restore the file.",
                            file=path, line=number, field="step")  # fmt: skip
        yield line


def _answers(path: Path) -> tuple[LoggedAnswer, ...]:
    if not path.is_file():
        return ()
    return tuple(
        LoggedAnswer(line["step"], str(line.get("case", "")), len(str(line.get("text", "")).split()))
        for line in _lines(path)
    )


def _named(setting: Any) -> str | None:
    return setting.get("name") if isinstance(setting, dict) else setting


def _flat(setting: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(setting, dict):
        for key, value in setting.items():
            yield from _flat(value, f"{prefix}{key}.")
    elif isinstance(setting, list):
        for place, value in enumerate(setting):
            yield from _flat(value, f"{prefix}{place}.")
    else:
        yield prefix.rstrip("."), setting


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)
