"""Does a table of results add up: does the overall follow from its parts, the macro average from its groups?

Benchmarks print parts and a whole. The whole of n items is fixed by the parts up to rounding and up to items that
were left out of some denominators, so that a whole outside of that range is a mistake somewhere, not an opinion.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlmalign.evaluation.benchmarks.logs import NUL_RUN, number
from vlmalign.records import DataError

Verdict = Literal["ok", "differs", "impossible", "unknown"]


@dataclass(frozen=True)
class Rule:
    """One thing that a row must satisfy.

    Attributes:
        whole: the column that follows from the others.
        weights: column -> weight of each part; all parts of a macro average weigh the same.
        slack: how far, in the table's units, left-out items may move the whole beyond rounding.
    """

    whole: str
    weights: Mapping[str, float]
    slack: float = 0.0


@dataclass(frozen=True)
class Order:
    """A column that cannot exceed another, as accuracy with ties counted wrong cannot exceed it without ties."""

    smaller: str
    larger: str


#: tables whose parts are known: name -> rules
PRESETS: Mapping[str, tuple[Rule | Order, ...]] = {
    "vl-rewardbench": (
        Rule("overall", {"general": 183, "hallucination": 749, "reasoning": 318}, slack=2.0),
        Rule("macro", {"general": 1, "hallucination": 1, "reasoning": 1}),
    ),
    "mj-bench": (
        Rule("overall", {"alignment": 724, "safety": 574, "quality": 1121, "bias_acc": 540}),
        Order("alignment", "alignment_without_ties"),
        Order("safety", "safety_without_ties"),
        Order("quality", "quality_without_ties"),
    ),
    "reward-bench": (Rule("average", {"chat": 1, "chat_hard": 1, "safety": 1, "reasoning": 1}),),
}


@dataclass(frozen=True)
class Finding:
    """What one rule says of one row.

    Attributes:
        row: name of the row.
        column: the whole.
        printed: what the table says.
        expected: what follows from the parts; None: a part is missing.
        tolerance: how far apart rounding and left-out items may bring them.
        verdict: `ok`; `differs`: by more than the tolerance, so that very many items must have been left out;
            `impossible`: whatever was left out, as no rounding gives it; `unknown`: a number is missing.
        line: of the table.
    """

    row: str
    column: str
    printed: float | None
    expected: float | None
    tolerance: float
    verdict: Verdict
    line: int = 0

    def __str__(self) -> str:
        """One sentence."""
        if self.verdict == "unknown":
            return f"{self.row}: {self.column} cannot be checked: a number is missing"
        word = {"ok": "follows from", "differs": "differs from", "impossible": "cannot come from"}[self.verdict]
        return (
            f"{self.row}: {self.column} {self.printed:g} {word} the parts, which give {self.expected:.2f} "
            f"(off by {(self.printed or 0) - (self.expected or 0):+.2f}, up to {self.tolerance:.2f} is explained)"
        )


def lint_row(
    row: Mapping[str, str | float | None], rules: Sequence[Rule | Order], *, name: str = "", line: int = 0
) -> list[Finding]:
    """Check one row.

    Rounding moves the whole by half a unit of its last printed digit, and the parts by as much together. A text
    keeps its digits ("60.0"); of a number those that it has.

    Args:
        row: column -> printed number.
        rules: what must hold; rules of which the whole is no column are passed over.
        name: of the row.
        line: of the table.

    Example:
        >>> row = {"general": "54.6", "hallucination": "38.3", "reasoning": "59.1", "macro": "44.0"}
        >>> [finding] = lint_row(row, PRESETS["vl-rewardbench"], name="LLaVA-Critic-8B")
        >>> finding.verdict, round(finding.expected, 2)
        ('impossible', 50.67)
    """
    return [found for rule in rules if (found := _check(row, rule, name, line)) is not None]


def _check(row: Mapping[str, str | float | None], rule: Rule | Order, name: str, line: int) -> Finding | None:
    if isinstance(rule, Order):
        if rule.smaller not in row or rule.larger not in row:
            return None
        small, large = number(row[rule.smaller]), number(row[rule.larger])
        slack = _half(row[rule.smaller]) + _half(row[rule.larger])
        if small is None or large is None:
            return Finding(name, rule.smaller, small, large, slack, "unknown", line)
        verdict: Verdict = "ok" if small <= large + slack + 1e-9 else "impossible"
        return Finding(name, f"{rule.smaller} (at most {rule.larger})", small, large, slack, verdict, line)
    if rule.whole not in row:
        return None
    printed = number(row[rule.whole])
    parts = {part: number(row.get(part)) for part in rule.weights}
    if printed is None or any(value is None for value in parts.values()):
        return Finding(name, rule.whole, printed, None, 0.0, "unknown", line)
    total = sum(rule.weights.values())
    expected = sum(weight * (parts[part] or 0.0) for part, weight in rule.weights.items()) / total
    rounding = _half(row[rule.whole]) + sum(w * _half(row.get(part)) for part, w in rule.weights.items()) / total
    tolerance, off = rounding + rule.slack, abs(printed - expected)
    known = [value for value in parts.values() if value is not None]
    outside = printed < min(known) - rounding or printed > max(known) + rounding
    if off <= tolerance + 1e-9:
        verdict = "ok"
    else:
        verdict = "impossible" if outside or not rule.slack else "differs"
    return Finding(name, rule.whole, printed, expected, tolerance, verdict, line)


def _half(printed: str | float | None) -> float:
    """Half a unit in the last printed digit.

    Example:
        >>> _half("60.0"), _half("7")
        (0.05, 0.5)
    """
    digits = str(printed).strip().partition(".")[2]
    return 0.5 * 10.0 ** -len(digits)


def lint_table(file: str | Path, rules: Sequence[Rule | Order] | None = None) -> list[Finding]:
    """Check every row of a CSV file.

    Args:
        file: its first column names the rows; a header names the columns. Capitals, spaces and hyphens in the
            header do not matter.
        rules: what must hold; None: those presets of which it has all columns.

    Raises:
        DataError: the file is missing, damaged or empty, has a row of another width, or no rule fits its columns.
    """
    path = Path(file)
    header, rows = _read(path)
    columns = [column_name(text) for text in header]
    if rules is None:
        rules = next((preset for preset in PRESETS.values() if _fits(preset, columns)), None)
    if rules is None or not _fits(rules, columns):
        known = "; ".join(f"{name}: {', '.join(sorted(_needed(p)))}" for name, p in PRESETS.items())
        raise DataError(
            f"no rule fits its columns {', '.join(header)}",
            f"Name the rule: --whole COLUMN --part COLUMN=WEIGHT ..., or use the names of a known table "
            f"({known}).",
            file=path,
            line=1,
        )
    found = []
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=True))
        found += lint_row(row, rules, name=cells[0], line=line)
    return found


def _needed(rules: Sequence[Rule | Order]) -> set[str]:
    first = next(rule for rule in rules if isinstance(rule, Rule))
    return {first.whole, *first.weights}


def _fits(rules: Sequence[Rule | Order], columns: Sequence[str]) -> bool:
    return any({rule.whole, *rule.weights} <= set(columns) if isinstance(rule, Rule) else False for rule in rules)


def column_name(text: str) -> str:
    """A header as rules name it.

    Example:
        >>> column_name(" Chat Hard"), column_name("Macro")
        ('chat_hard', 'macro')
    """
    return text.strip().lower().replace(" ", "_").replace("-", "_")


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    data = path.read_bytes()
    hole = NUL_RUN.search(data)
    if hole:
        raise DataError(f"bytes {hole.start()} to {hole.end() - 1} are NUL", "Restore the file.", file=path)
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"it is no CSV file in UTF-8 ({error})", "Save it as such.", file=path) from None
    if len(lines) < 2:
        raise DataError("it has no row below a header", "Give a table.", file=path)
    header = lines[0][1]
    names = [column_name(text) for text in header]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the column {twice!r} is there twice", "Name each column once.", file=path, line=1)
    for line, row in lines[1:]:
        if len(row) != len(header):
            rule = f"it has {len(row)} cells, the header {len(header)}"
            raise DataError(rule, "Correct the line.", file=path, line=line)
    return header, lines[1:]


def rule_of(whole: str, parts: Sequence[str], slack: float) -> Rule:
    """A rule from texts `column=weight` (or `column`: weight 1).

    Raises:
        ValueError: a weight is no positive number, or a part is named twice.

    Example:
        >>> rule_of("All", ["a=2", "b"], 0.0).weights
        {'a': 2.0, 'b': 1.0}
    """
    weights: dict[str, float] = {}
    for text in parts:
        name, equals, value = text.rpartition("=") if "=" in text else (text, "", "1")
        weight = number(value)
        if not name or weight is None or weight <= 0:
            raise ValueError(f"--part {text!r}: expected COLUMN or COLUMN=WEIGHT with a positive weight")
        if column_name(name) in weights:
            raise ValueError(f"--part {name!r} is given twice: give each part once")
        weights[column_name(name)] = weight
    if not weights:
        raise ValueError(f"--whole {whole}: name its parts, --part COLUMN=WEIGHT")
    return Rule(column_name(whole), weights, slack)
