"""BLEU, ROUGE, BERTScore, RadGraph and CheXbert of reports, by the libraries of the `metrics` extra."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from importlib import import_module
from typing import Any

from vlmalign.evaluation.benchmarks.marks import Figures
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records.suggestions import unknown

#: report, its reference (None: there is none), cluster
Text = tuple[str, str | None, Hashable]
#: metric -> library that has it
LIBRARIES = {"bleu": "sacrebleu", "rouge": "rouge_score", "bertscore": "radeval", "radgraph": "radeval",
             "chexbert": "radeval"}  # fmt: skip


def text_metrics(names: str, texts: Sequence[Text], *, excluded: int = 0) -> Figures:
    """Mean over reports of each metric, with an interval over clusters.

    BLEU is sacrebleu's sentence BLEU (exponential smoothing), ROUGE the F of ROUGE-L without stemming: means of
    reports, not the pooled BLEU of a corpus, which has no value per report. The others are RadEval's: RadGraph
    partial F1, and for CheXbert the share of the fourteen labels of a report that agree (not an F1).

    Args:
        names: metrics between commas; "" for none.
        texts: reports with references; those without are excluded.
        excluded: reports that are missing.

    Raises:
        ValueError: no such metric.
        ImportError: the library is not installed; names the extra.

    Example:
        >>> text_metrics("", [("No effusion.", "No effusion.", "p1")])
        {}
        >>> text_metrics("blue", [])
        Traceback (most recent call last):
        ...
        ValueError: unknown text metric 'blue'. Did you mean 'bleu'?
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in LIBRARIES:
            raise ValueError(unknown("text metric", name, LIBRARIES))
    scorers = {name: _SCORERS[name](_library(name)) for name in wanted}
    pairs = [(said, reference) for said, reference, _ in texts if reference is not None]
    groups = [group for _, reference, group in texts if reference is not None]
    out = excluded + len(texts) - len(pairs)
    if not pairs:
        return {name: cluster_estimate([], [], excluded=out) for name in wanted}
    return {name: cluster_estimate(scorer(pairs), groups, excluded=out) for name, scorer in scorers.items()}


def _library(name: str) -> Any:
    try:
        return import_module(LIBRARIES[name])
    except ImportError as error:
        raise ImportError(
            f"the text metric {name!r} needs {LIBRARIES[name]}, which is not installed: "
            "install the metrics extra, `pip install 'vlmalign[metrics]'`"
        ) from error


Scorer = Callable[[Sequence[tuple[str, str]]], list[float]]


def _bleu(library: Any) -> Scorer:
    return lambda pairs: [library.sentence_bleu(said, [truth]).score / 100 for said, truth in pairs]


def _rouge(library: Any) -> Scorer:
    module = import_module(f"{library.__name__}.rouge_scorer")
    scorer = module.RougeScorer(["rougeL"], use_stemmer=False)
    return lambda pairs: [scorer.score(truth, said)["rougeL"].fmeasure for said, truth in pairs]


def _radeval(option: str, key: str) -> Callable[[Any], Scorer]:
    def make(library: Any) -> Scorer:
        def scores(pairs: Sequence[tuple[str, str]]) -> list[float]:
            metric = library.RadEval(metrics=[option], per_sample=True)
            found = metric(refs=[truth for _, truth in pairs], hyps=[said for said, _ in pairs])
            if key not in found:
                raise ImportError(f"this release of radeval gives no {key!r} per report: install radeval>=2")
            return [float(value) for value in found[key]]

        return scores

    return make


_SCORERS: dict[str, Callable[[Any], Scorer]] = {
    "bleu": _bleu,
    "rouge": _rouge,
    "bertscore": _radeval("bertscore", "bertscore"),
    "radgraph": _radeval("radgraph", "radgraph_partial"),
    "chexbert": _radeval("f1chexbert", "f1chexbert_sample_acc_all"),
}
