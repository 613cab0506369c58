"""Reports against their references as GREEN counts them, by claims that a clinical logic reads, not a model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from vlmalign.clinical import load_logic, parse_text
from vlmalign.evaluation.benchmarks.marks import Figures
from vlmalign.evaluation.benchmarks.protocol import Table
from vlmalign.evaluation.intervals import cluster_estimate

NAME = "green"
NOTE = (
    "matched claims / (matched claims + errors), the mean over reports: GREEN's score (Ostmeier et al. 2024, "
    "equation 1) with claims that the parser reads where GREEN asks a language model, and not comparable with its "
    "figures; length_controlled divides by words / words of the reference where that is above 1; the others are "
    "counts a report. Excluded: no reference, nothing read on either side, nothing to compare"
)


def agreement_table(texts: Sequence[tuple[str, str | None, Hashable]], logic: str, *, excluded: int = 0) -> Table:
    """Agreement of each report with its reference, and its errors by kind.

    Args:
        texts: report, reference (None: there is none), cluster.
        logic: name or path of the clinical logic that reads the claims.
        excluded: reports that are missing.

    Example:
        >>> said, true = "No pleural effusion. Cardiomegaly.", "No pleural effusion. Cardiomegaly. Edema."
        >>> found = agreement_table([(said, true, "p1")], "chest_xray").rows["all"]
        >>> round(found["green"].mean, 3), found["missing_finding"].mean
        (0.667, 1.0)
    """
    from vlmalign.rewards.report_agreement import Agreement, compare_reports

    domain = load_logic(logic)
    groups = [group for _, _, group in texts]
    columns: dict[str, list[float | None]] = {
        name: [] for name in (NAME, f"{NAME}_length_controlled", *Agreement._fields)
    }
    for said, reference, _ in texts:
        mine = parse_text(domain, said)
        theirs = parse_text(domain, reference or "")
        found = compare_reports(domain, mine, theirs) if mine.claims and theirs.claims else None
        plain = None if found is None else found.score
        ratio = len(said.split()) / max(1, len((reference or "").split()))
        columns[NAME].append(plain)
        columns[f"{NAME}_length_controlled"].append(None if plain is None else plain / max(ratio, 1.0))
        for name in Agreement._fields:
            columns[name].append(None if found is None or plain is None else float(getattr(found, name)))
    row: Figures = {
        name: cluster_estimate(values, groups, excluded=excluded, proportion=name.startswith(NAME))
        for name, values in columns.items()
    }
    return Table("green", "Agreement of claims, in the way of GREEN", {"all": row}, NOTE, share=False)
