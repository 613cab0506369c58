"""Calibration of any benchmark's answers: is a model that says "confidence: 8" right in eight of ten?

Expected calibration error over ten bins of equal width and over ten of equal size, the Brier score, and how well
confidence tells right answers from wrong ones. A confidence is a column, or is read out of the answer's last line
("Confidence: 7", of 10). An answer without one is a state of its own: it is not one half.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.answer_words import normalise
from vlmalign.evaluation.benchmarks.logs import number
from vlmalign.evaluation.benchmarks.marks import unread_note
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    UNPARSED,
    Benchmark,
    BenchmarkResult,
    Item,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.benchmarks.yes_no import read_yes_no
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import Array, Statistic, cluster_estimate, estimate_statistic, number_cells
from vlmalign.records import DataError

if TYPE_CHECKING:
    from vlmalign.evaluation.calibration import CalibrationFigures

NO_CONFIDENCE = "no_confidence"
CORRECT = ("correct", "hit", "right")
TRUTHS = ("label", "answer", "gt_ans", "reference")
BINS = 10


@dataclass(frozen=True, kw_only=True)
class ConfidentItem(Item):
    """An answer, right or wrong, with the confidence that was stated in it.

    Attributes:
        right: whether it is right; None where it could not be read.
        confidence: in [0, 1]; None where none is stated.
    """

    right: bool | None
    confidence: float | None


def read(files: Sequence[Path], scale: float = 1.0) -> list[ConfidentItem]:
    """Rows (id, `correct`, or a truth and a prediction; `confidence`, or a last line that states it), or folders.

    A prediction is right if it equals the truth after normalisation, a yes or no being read out of a longer
    answer.

    Args:
        files: questions and answers, in one file or apart; folders of cases and candidates.
        scale: of the column `confidence`: 1 for probabilities, 10, or 100 for percent.

    Raises:
        DataError: a confidence outside the scale, or a `correct` that is neither 0 nor 1.
    """
    if scale <= 0:
        raise ValueError(f"option scale is {scale:g}: give the highest confidence there is, 1, 10 or 100")
    rows = read_answered(files, truth=(*CORRECT, *TRUTHS), answers=("text",),
                         predictions=("prediction", "pred", "response", "model_output", "confidence"))  # fmt: skip
    return [_item(row, scale) for row in rows]


def _item(row: Answered, scale: float) -> ConfidentItem:
    from vlmalign.rewards.confidence import stated_confidence

    text = row.get("prediction", "pred", "response", "model_output", "text")
    said = None if text is None else stated_confidence(str(text))
    confidence = None if said is None else said.confidence
    given = row.get("confidence")
    if given is not None:
        value = number(str(given).strip().removesuffix("%"))
        if value is None or not 0 <= value <= scale:
            raise DataError(f"the confidence is {given!r}, expected 0 to {scale:g}",
                            "Correct it, or name the scale: --set scale=100.",
                            file=row.file, record=row.id, field="confidence")  # fmt: skip
        confidence = value / scale
    right = _is_right(row, None if said is None else said.text)
    state = SCORED
    if right is None:
        state = why_unread(None if said is None else said.text)
    elif confidence is None:
        state = NO_CONFIDENCE
    return ConfidentItem(row.id, row.group(), (), state, right=right, confidence=confidence)


def _is_right(row: Answered, said: str | None) -> bool | None:
    marked = row.get(*CORRECT)
    if marked is not None:
        text = str(marked).strip().lower()
        if text in ("1", "1.0", "true", "yes"):
            return True
        if text in ("0", "0.0", "false", "no"):
            return False
        raise DataError(f"correct is {marked!r}, expected 1 or 0", "Correct the row.",
                        file=row.file, record=row.id, field="correct")  # fmt: skip
    truth = normalise(str(row.need(*TRUTHS)))
    if said is None or not normalise(said) or why_unread(said) != UNPARSED:
        return None
    if truth in ("yes", "no"):
        found = read_yes_no(said, str(row.get("question") or ""))
        return None if found is None else found == truth
    return normalise(said) == truth


def score(items: Sequence[ConfidentItem]) -> BenchmarkResult:
    """Calibration error, Brier score, discrimination, and the reliability of each bin."""
    from vlmalign.evaluation.calibration import calibration_figures

    used = [item for item in items if item.state == SCORED]
    if not used:
        raise DataError("no answer has both a confidence and a known truth",
                        "Ask for a last line `Confidence: 7`, or give a column confidence.")  # fmt: skip
    out = len(items) - len(used)
    p = [item.confidence or 0.0 for item in used]
    right = [float(bool(item.right)) for item in used]
    groups = [item.group for item in used]
    found = calibration_figures(p, right, groups, n_bins=BINS)
    rows = {"all": _figures(found, p, right, groups, out)}
    bins: dict[str, dict[str, Estimate | None]] = {
        f"{100 * each.low:g} to {100 * each.high:g} %, stated {100 * each.confidence:.1f}": {
            "right": each.accuracy
        }
        for each in found.bins
    }
    share = sum(right) / len(right)
    constant = calibration_figures([share] * len(used), right, groups, n_bins=BINS)
    sure = calibration_figures([1.0] * len(used), right, groups, n_bins=BINS)
    baselines = {
        name: {"ece": each.ece, "brier": each.brier}
        for name, each in ((f"always {100 * share:.1f} %, the accuracy", constant), ("always certain", sure))
    }
    note = (
        "ece: mean over bins of equal width of |share right - mean confidence|; ece_mass: bins of equally many; "
        "both are never below 0 and so lie above the truth with few items; auroc: chance that a right answer has "
        "a higher confidence than a wrong one, equal ones one half"
    )
    return BenchmarkResult(
        "calibration",
        (Table("calibration", "Calibration", rows, note), Table("reliability", "Share right, by bin", bins)),
        count_states(items),
        Table("baselines", "Constant confidences", baselines, "the accuracy is calibrated, and says nothing"),
        tuple(filter(None, (unread_note(items), _spread(p)))),
    )  # fmt: skip


def _figures(
    found: CalibrationFigures, p: Sequence[float], right: Sequence[float], groups: Sequence[Hashable], out: int
) -> dict[str, Estimate | None]:
    from dataclasses import replace

    accuracy = cluster_estimate(right, groups, proportion=True)
    stated = cluster_estimate(p, groups, proportion=True)
    each = {
        "accuracy": accuracy, "mean confidence": stated, "ece": found.ece, "ece_mass": found.ece_mass,
        "brier": found.brier, "auroc": auroc(p, right, groups),
    }  # fmt: skip
    return {name: replace(e, excluded=e.excluded + out) for name, e in each.items()}


def auroc(p: Sequence[float], right: Sequence[float], groups: Sequence[Hashable]) -> Estimate:
    """Chance that a right answer's confidence is above a wrong one's, with an interval over clusters.

    Example:
        >>> auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], "abcd").mean  # of four pairs three in order, one equal
        0.875
    """
    values, labels = np.asarray(p, dtype=float), np.asarray(right, dtype=float)
    if labels.min() == labels.max():
        return Estimate.nothing(len(values))
    cells, seeds, of_cells = number_cells(list(groups), None, False)
    found = estimate_statistic(_auroc_statistic(values, labels, cells), seeds, of_cells, n=len(values), excluded=0)
    if found.low is None or found.high is None:
        return found
    from dataclasses import replace

    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def _auroc_statistic(values: Array, labels: Array, cells: np.ndarray) -> Statistic:
    """Mann and Whitney's statistic of weighted items, by ranks of the distinct confidences."""
    _, ranks = np.unique(values, return_inverse=True)
    k = int(ranks.max()) + 1
    table = np.zeros((2, int(cells.max()) + 1, k))
    np.add.at(table, (labels.astype(int), cells, ranks), 1.0)

    def statistic(weights: Array) -> Array:
        wrong, good = weights @ table[0], weights @ table[1]
        below = np.cumsum(wrong, axis=1) - wrong / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((good * below).sum(axis=1) / (wrong.sum(axis=1) * good.sum(axis=1)))

    return statistic


def _spread(p: Sequence[float]) -> str:
    return f"every answer states {100 * p[0]:g} %: there is nothing to tell apart" if len(set(p)) == 1 else ""


ADAPTERS = (
    Benchmark(
        "calibration",
        "Calibration: is the confidence that answers state deserved",
        "Guo et al. 2017, arXiv:1706.04599; Xiong et al. 2024, arXiv:2306.13063",
        {".jsonl, .json, .csv, .tsv": "id, prediction, label (or correct: 1, 0), confidence (or a last line "
                                      "`Confidence: 7`), patient_id",
         "folders": "our cases (reference text) and candidates"},
        read,
        score,
        {"scale": Option(1.0, "highest value of the column confidence: 1, 10 or 100")},
    ),
)  # fmt: skip
