"""A methods paragraph for a paper, the study's own numbers filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmalign.reader_study.analysis.rated_texts import OTHER_READERS
from vlmalign.reader_study.analysis.win_rates import TIES
from vlmalign.reader_study.plan import KAPPA_NEEDS

SELECTED = {
    "all": "all cases that could be used",
    "random": "cases drawn at random",
    "stratified": "cases drawn at random within strata of",
    "uncertain": "the cases of which the reward was least sure",
    "listed": "cases from a list",
}


def methods_text(results: Mapping[str, Any]) -> str:
    """The paragraphs in Markdown: design, blinding, analysis, exclusions.

    Args:
        results: what `analyze` returns.
    """
    parts = [
        "# Methods of the reader study",
        _design(results["design"]),
        _blinding(results["design"]),
        _analysis(results),
        _exclusions(results),
    ]
    return "\n\n".join(parts) + "\n"


def count(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> count(1, "reader"), count(3, "study", "studies")
        ('1 reader', '3 studies')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _design(d: Mapping[str, Any]) -> str:
    few = d["readers_per_case"] or d["readers_planned"]
    each = "each read by all of them" if few == d["readers_planned"] else f"each read by {few} of them"
    selected = SELECTED[d["select"]] + (f" {d['stratify']}" if d["stratify"] else "")
    groups = "" if d["groups"] == d["cases"] else f" of {count(d['groups'], 'patient')}"
    told = (
        f"{count(d['readers_planned'], 'reader')} {'was' if d['readers_planned'] == 1 else 'were'} to rate the "
        f"texts of {count(len(d['arms']), 'arm')} ({', '.join(d['arms'])}) for {count(d['cases'], 'case')}{groups}"
        f" ({selected}; {each}): {count(d['readings'], 'reading')}"
    )
    told += f" and {count(d['repeats'], 'repeat')} for intra-reader agreement. " if d["repeats"] else ". "
    told += "Two texts were shown side by side. " if d["texts_per_item"] == 2 else "One text was shown at a time. "
    if d["crossed"]:
        told += (
            "Every reader read a case in every comparison, in parts of the study at least "
            f"{count(d['washout_days'], 'day')} apart. "
        )
    asked = []
    if d["preference_steps"]:
        asked.append(
            f"to say which text they would rather sign ({d['preference_steps']} steps, no difference among them)"
        )
    if d["criteria"]:
        scale = "from 1 (strongly disagree) to 5 (strongly agree)"
        asked.append(f"to rate each text for {_listed(d['criteria'])} {scale}")
    if d["mark_errors"]:
        asked.append("to mark wrong sentences as minor or major errors")
    return told + f"Readers were asked {_listed(asked)}. The cases served {d['purpose']} only."


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _blinding(d: Mapping[str, Any]) -> str:
    if d["texts_per_item"] == 2:
        drawn = "the sides, balanced within each reader and comparison"
    elif d["crossed"]:
        drawn = "in which part of the study a case was read in which arm"
    else:
        drawn = "which arm's text of a case a reader got, balanced within readers and within cases"
    told = (
        f"The order of the cases was randomised (seed {d['seed']}), and so "
        f"{'were' if d['texts_per_item'] == 2 else 'was'} {drawn}, from a secret of the study that readers did "
        "not have. Readers saw no name of an arm. Which text is whose was kept in a key whose SHA-256 stands in "
        f"the study's public part since its design ({d['key_sha256']}); the key used here has this hash."
    )
    if d["guesses"]:
        told += (
            f" At the end readers guessed the arm on {count(d['guesses'], 'screen')} as a check of the blinding."
        )
    return told


def _analysis(r: Mapping[str, Any]) -> str:
    new = r["estimand"] == "new readers"
    n = len(r["design"]["readers"])
    told = f"The answers of {count(n, 'reader')} were analysed. "
    if new:
        told += (
            "Intervals are for new readers on new cases: the variance of readers and cases together, from "
            "variance components, with t and Satterthwaite's degrees of freedom; of shares on the logit scale. "
        )
    else:
        why = "readers were fewer than five, " if n < 5 else ""
        told += (
            f"Intervals are for these readers on new cases ({why}which is too few to speak of readers in "
            "general): "
            if why
            else "Intervals are for these readers on new cases: "
        ) + "clustered by case, by a cluster bootstrap from 30 cases on, by t on case means below. "
    told += "All intervals are 95 %; where all values are the same they are Clopper-Pearson's. "
    preference, ratings = r["preference"], r["ratings"]
    if preference:
        told += f"In win rates {TIES}; rates without ties and the share of ties are given beside them. "
    how = "t of the interval" if new else "flipping the signs of cases"
    told += f"P values are two-sided, by {how}, adjusted by Holm's method"
    tested = {"preference": (preference or {}).get("pairs", ())}
    tested |= {name: (r[name] or {}).get("differences", ()) for name in ("ratings", "errors")}
    families = [
        f"over {count(len(found), f'comparison of {name}', f'comparisons of {name}')}"
        for name, found in tested.items()
        if found
    ]
    told += f" {_listed(families)}. " if families else ". "
    differences = [one for name in ("ratings", "errors") for one in tested[name]]
    if any(one["paired"] == OTHER_READERS for one in differences):
        told += (
            "Where different readers read a case's texts these were compared by their means over the case's "
            "readers: such intervals are for these readers on new cases, such p values by flipping the signs of "
            "cases. "
        )
    if preference or ratings:
        told += (
            "Linear mixed models with crossed random effects of reader and case (REML, statsmodels) stand beside "
            "as a second analysis. "
        )
    d = r["design"]
    if d["groups"] < d["cases"]:
        told += "Several cases of one patient count as one case, with the mean of what a reader said of them. "
    if preference:
        told += "Length was adjusted for by a line over the relative difference in words. "
    told += "Agreement between readers is Cohen's kappa of two or Fleiss' of more, and Krippendorff's alpha"
    if r["design"]["repeats"]:
        told += f"; within readers, of repeats, kappa being read from {KAPPA_NEEDS} repeats on"
    told += (
        "; both with percentile bootstrap intervals that draw cases whole, all texts and readers of one together. "
    )
    return told + f"Software: {', '.join(f'{name} {version}' for name, version in r['versions'].items())}."


def _exclusions(r: Mapping[str, Any]) -> str:
    c = r["counts"]
    told = f"Of {count(c['readings'], 'reading')} of readers who handed in, {c.get('answered', 0):,} were answered"
    told += f" ({c['incomplete']:,} of them in part)" if c.get("incomplete") else ""
    told += f" and {c.get('missing', 0):,} not" if c.get("missing") else ""
    told += "; unanswered questions are excluded and counted, never taken for a tie or a zero. "
    if c["readers_without_a_file"]:
        told += f"No file came from {_listed(c['readers_without_a_file'])}. "
    aside = {k.removeprefix("set_aside:"): v for k, v in c.items() if k.startswith("set_aside:")}
    if aside:
        told += "Set aside: " + ", ".join(f"{v} ({k.replace('_', ' ')})" for k, v in sorted(aside.items())) + ". "
    told += "Repeated readings count for agreement only."
    return told
