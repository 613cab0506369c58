"""What JSON files of figures tell: what was measured, with what interval, against what, and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vlmalign.evaluation.checklists import facts
from vlmalign.evaluation.checklists.evidence import EvidenceFiles, JsonFile
from vlmalign.evaluation.checklists.facts import Evidence, Fact
from vlmalign.evaluation.estimate import Estimate

#: benchmarks of which the figures are about things said that are not in the picture
HALLUCINATION = frozenset({"pope", "chair", "hallusionbench", "mediconfusion"})
Chosen = Callable[[list[str]], bool]


def metrics(files: EvidenceFiles) -> list[Evidence]:
    """Figures with an interval over groups, one as an example."""
    return _figures(files, lambda place: True, clustered=True)


def interval_methods(files: EvidenceFiles) -> list[Evidence]:
    """How the intervals were made."""
    found = []
    for file in files.figures:
        kinds = Counter(str(f["method"]).split(",")[0] for f in file.figures.values() if f.get("method"))
        if kinds:
            told = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(4))
            found.append(Evidence(f"95% intervals: {told}", file.name))
    return found


def excluded(files: EvidenceFiles) -> list[Evidence]:
    """That what could not be scored was counted."""
    found = []
    for file in files.figures:
        counted = [f["excluded"] for f in file.figures.values() if "excluded" in f]
        if counted:
            some = sum(n > 0 for n in counted)
            found.append(Evidence(f"excluded values are counted beside {len(counted)} figures, {some} have some",
                                  file.name))  # fmt: skip
    return found


def baselines(files: EvidenceFiles) -> list[Evidence]:
    """What needs no look at the image earns."""
    return _figures(files, _has("baselines", "null_baselines", "text_only"))


def comparisons(files: EvidenceFiles) -> list[Evidence]:
    """Paired differences with intervals."""
    return _figures(files, lambda place: _has("difference", "comparisons", "differences")(place)
                    or any("_minus_" in part or part.startswith("minus ") for part in place))  # fmt: skip


def significance(files: EvidenceFiles) -> list[Evidence]:
    """Tests, corrections and margins."""
    found = []
    for file in files.figures:
        keys = Counter(key for key, _ in _walk(file.data) if key in ("p", "p_holm", "mcnemar", "conclusion"))
        words = {"p": "p values", "p_holm": "p after Holm", "mcnemar": "McNemar", "conclusion": "conclusions"}
        if keys:
            told = ", ".join(f"{keys[key]} {word}" for key, word in words.items() if keys[key])
            margin = file.data.get("margin")
            found.append(Evidence(told + (f"; margin {margin:g}" if isinstance(margin, int | float) else ""),
                                  file.name))  # fmt: skip
    return found


def calibration(files: EvidenceFiles) -> list[Evidence]:
    """Calibration errors."""
    return _figures(files, _has("ece", "brier", "calibration", "reliability", starts=("ece_", "brier_")))


def abstention(files: EvidenceFiles) -> list[Evidence]:
    """What is kept and what goes to a human, and the risk of what is kept."""
    return _figures(files, _has("risk_coverage", "curve_after", "kept", "promised", "wrong_kept",
                                starts=("risk_coverage_",)))  # fmt: skip


def subgroups(files: EvidenceFiles) -> list[Evidence]:
    """Figures by sex, age, site, laterality."""
    return _figures(files, _has("subgroups"))


def factuality(files: EvidenceFiles) -> list[Evidence]:
    """Claims that no image supports, and contradictions."""
    chosen = _has("unsupported", "unsupported_known", "unsupported_unknown", "path_consistency", "without_error")
    of_benchmarks = [f for f in files.figures if f.data.get("benchmark") in HALLUCINATION]
    told = [Evidence(f"benchmark {f.data['benchmark']}: {len(f.figures)} figures", f.name) for f in of_benchmarks]
    return [*_figures(files, chosen), *told]


def completeness(files: EvidenceFiles) -> list[Evidence]:
    """What was left unsaid."""
    return _figures(files, _has("omissions", "whole_report_accuracy", "report_agreement"))


def robustness(files: EvidenceFiles) -> list[Evidence]:
    """What changes where the picture is hidden or swapped, the style or the prompt is another one."""
    return _figures(files, _has("role_swapped_blanked", "seen_minus_blanked", "blanked", "swapped", "shifted",
                                "variants", "seen_minus", "prompt_spread"))  # fmt: skip


def seed_spread(files: EvidenceFiles) -> list[Evidence]:
    """Several training seeds."""
    found = []
    for file in files.figures:
        told = file.data.get("seeds")
        if isinstance(told, list) and len(told) > 1:
            found.append(Evidence(f"{len(told)} training seeds: {facts.short(told)}", file.name))
        elif "signal_to_noise" in {key for key, _ in _walk(file.data)}:
            found.append(Evidence("seed variance and signal-to-noise ratios", file.name))
    return found


def other_data(files: EvidenceFiles) -> list[Evidence]:
    """Scores on data that the run was not made from (`vlmalign evaluate run`)."""
    return [
        Evidence(f"scored on other data: {file.data.get('source')}, {file.data['shared_groups']} shared groups",
                 file.name)
        for file in files.figures
        if "shared_groups" in file.data
    ]  # fmt: skip


def error_tables(files: EvidenceFiles) -> list[Evidence]:
    """What was said against what is true, value by value."""
    found = []
    for file in files.figures:
        told = [value for key, value in _walk(file.data) if key == "confusion" and value]
        if told:
            found.append(Evidence("confusion matrices", file.name))
    return found


def reader_studies(files: EvidenceFiles) -> list[Evidence]:
    """Human readers who rate answers blind."""
    return [
        Evidence(f"{len(s.data['forms'])} readers, {sum(len(f['readings']) for f in s.data['forms'])} readings, "
                 f"key committed to {str(s.data.get('key_sha256'))[:12]}", s.name)
        for s in files.studies
    ]  # fmt: skip


FACTS: dict[str, Fact] = {
    fact.__name__: fact
    for fact in (
        facts.data_sources, facts.data_licence, facts.grouping, facts.labels, facts.preprocessing,
        facts.split_by_group, facts.population, facts.selection_counts, facts.fingerprints, facts.data_use,
        facts.pseudonyms, facts.prompts, facts.decoding, facts.base_model, facts.architecture, facts.training_data,
        facts.hyperparameters, facts.validation_data, facts.seeds, facts.versions, facts.compute,
        facts.trained_parameters, metrics, interval_methods, excluded, baselines, comparisons, significance,
        calibration, abstention, subgroups, factuality, completeness, robustness, seed_spread, other_data,
        error_tables, reader_studies,
    )
}  # fmt: skip


def _figures(files: EvidenceFiles, chosen: Chosen, *, clustered: bool = False) -> list[Evidence]:
    """How many figures lie at such places in each file; only scored ones are evidence."""
    found = []
    for file in files.figures:
        mine = _scored(file, chosen, clustered)
        if mine:
            place, example = next(iter(mine.items()))
            more = f"{len(mine)} figures, e.g. " if len(mine) > 1 else ""
            found.append(Evidence(f"{more}{place} {_told(example)}", file.name))
    return found


def _scored(file: JsonFile, chosen: Chosen, clustered: bool) -> dict[str, Estimate]:
    kept = {}
    for place, figure in file.figures.items():
        if figure["mean"] is None or (clustered and (figure["low"] is None or not figure.get("n_groups"))):
            continue
        if chosen(place.split(".")):
            try:
                kept[place] = Estimate.from_dict(figure)
            except (ValueError, TypeError):
                continue  # of another program: no figure of ours, and so no evidence
    return kept


def _told(found: Estimate) -> str:
    low, high = (f"{x:.3g}" if x is not None else "?" for x in (found.low, found.high))
    where = f" in {found.n_groups:,} groups" if found.n_groups else ""
    return f"{found.mean:.3g} ({low} to {high}), n {found.n:,}{where}"


def _has(*names: str, starts: tuple[str, ...] = ()) -> Chosen:
    def chosen(place: list[str]) -> bool:
        return any(part in names or (starts and part.startswith(starts)) for part in place)

    return chosen


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
