"""How many patients a planned comparison needs, or what so many can show, and what that rests on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlmalign.evaluation.power import (
    Differences,
    from_pilot,
    groups_for,
    groups_for_equivalence,
    groups_for_half_width,
    half_width_for,
    power_for,
    power_for_equivalence,
)
from vlmalign.records import DataError

Question = Literal["proportion", "superiority", "non-inferiority", "equivalence"]
#: what else is told: at these multiples of the number
MULTIPLES = (0.5, 0.75, 1.0, 1.5, 2.0)
#: see `power_for_equivalence`, which has the figures
STEPS = (
    "the power is of normal differences; of right and wrong answers it was up to 5 points lower in simulations of "
    "130 patients, 10 of 60, as such differences move in whole items: plan for more"
)


@dataclass(frozen=True)
class Plan:
    """What is planned.

    Attributes:
        question: proportion: one share, as precise as wanted; the others: two models on the same items.
        varies: a single score, or the paired difference of two models.
        effect: the true difference, first minus second.
        margin: the largest difference of no interest.
        half_width: wanted, of a proportion's interval.
        power: wanted.
        alpha: two-sided; of equivalence that of each of two one-sided tests.
    """

    question: Question
    varies: Differences
    effect: float = 0.0
    margin: float = 0.0
    half_width: float | None = None
    power: float = 0.8
    alpha: float = 0.05

    def groups(self) -> int:
        """The fewest clusters that do.

        Example:
            >>> Plan("superiority", Differences(1.0), effect=0.5).groups()
            34
        """
        if self.question == "proportion":
            assert self.half_width is not None
            return groups_for_half_width(self.half_width, self.varies, alpha=self.alpha)
        if self.question == "equivalence":
            return groups_for_equivalence(
                self.varies, margin=self.margin, effect=self.effect, power=self.power, alpha=self.alpha
            )
        return groups_for(self.effect, self.varies, power=self.power, margin=self.margin, alpha=self.alpha)

    def reached(self, groups: int) -> float:
        """The power of so many clusters; of a proportion the half width of its interval."""
        if self.question == "proportion":
            return half_width_for(groups, self.varies, alpha=self.alpha)
        if self.question == "equivalence":
            return power_for_equivalence(
                groups, self.varies, margin=self.margin, effect=self.effect, alpha=self.alpha
            )
        return power_for(groups, self.effect, self.varies, margin=self.margin, alpha=self.alpha)


def size_study(plan: Plan, groups: int | None = None) -> dict[str, Any]:
    """The number of clusters that a plan needs, or what the given number reaches.

    Args:
        plan: what is planned.
        groups: a given number of clusters; None: find it.

    Returns:
        `groups`, `items` (rounded up), `reached` (power, or half width), `nearby`: the same at other numbers,
        `assumptions` in words, and what was given.

    Example:
        >>> found = size_study(Plan("superiority", Differences(1.0), effect=0.5))
        >>> found["groups"], round(found["reached"], 3)
        (34, 0.808)
    """
    n = plan.groups() if groups is None else groups
    near = sorted({max(2, round(times * n)) for times in MULTIPLES})
    varies = plan.varies
    return {
        "question": plan.question,
        "groups": n,
        "items": -(-round(n * varies.items_per_group * 1000) // 1000),
        "given": "groups" if groups is not None else "half_width" if plan.question == "proportion" else "power",
        "reached": plan.reached(n),
        "nearby": {str(each): plan.reached(each) for each in near},
        "design_effect": varies.design_effect,
        "settings": {
            "effect": plan.effect, "margin": plan.margin, "half_width": plan.half_width, "power": plan.power,
            "alpha": plan.alpha, **vars(varies),
        },
        "assumptions": assumptions(plan),
    }  # fmt: skip


def assumptions(plan: Plan) -> list[str]:
    """What the number rests on, in words."""
    v = plan.varies
    clusters = (
        "every item is a patient of its own, or items of a patient are no more alike than others"
        if v.items_per_group == 1 or not v.correlation
        else f"{v.items_per_group:g} items of a patient on average, intraclass correlation {v.correlation:g}"
        + (f", sizes vary by {v.size_variation:g} of their mean" if v.size_variation else "")
        + f": design effect {v.design_effect:.3g}"
    )
    level = 100 * (1 - plan.alpha)
    tests = {
        "proportion": f"the {level:g}% t interval over patients; where few are wrong, exact intervals are wider",
        "superiority": f"shown where the whole two-sided {level:g}% interval of the difference lies above 0",
        "non-inferiority": f"shown where the two-sided {level:g}% interval lies above -{plan.margin:g}",
        "equivalence": f"shown where the {100 * (1 - 2 * plan.alpha):g}% interval lies within +-{plan.margin:g}",
    }
    about = "a score varies" if plan.question == "proportion" else "the paired difference varies"
    found = [f"{about} by a standard deviation of {v.std:.4g} between items", clusters, tests[plan.question]]
    if plan.question != "proportion":
        found.append(f"the true difference is {plan.effect:g}; both models answer the same items")
        if plan.question == "equivalence":
            found.append(STEPS)
        found.append("one comparison; of several, each needs a smaller alpha (Holm)")
    return [*found, "no item is excluded: add as many patients as the excluded ones would take away"]


def read_pilot(path: str | Path) -> Differences:
    """Spread and correlation from a pilot: a CSV file with the columns `group` and `difference` (empty: excluded).

    Raises:
        DataError: no such file, a missing column, or a difference that is no number.
        ValueError: fewer than two clusters, or differences that do not vary.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", "Check the path of the pilot.", file=path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = {"group", "difference"} - set(rows.fieldnames or ())
        if missing:
            raise DataError(f"the column {', '.join(sorted(missing))} is missing",
                            "Give the columns group and difference.", file=path, line=1)  # fmt: skip
        read = [(row["group"], _number(row["difference"], path, rows.line_num)) for row in rows]
    return from_pilot([value for _, value in read], [group for group, _ in read])


def _number(text: str | None, path: Path, line: int) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value or abs(value) == float("inf"):
        raise DataError(f"the difference is {text!r}, expected a number or nothing", "Correct it.",
                        file=path, line=line, field="difference")  # fmt: skip
    return value
