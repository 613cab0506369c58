"""The 23 subsets of RewardBench, their sections and sizes (Lambert et al. 2024, arXiv:2403.13787, table 1)."""

from __future__ import annotations

from collections.abc import Iterable

#: subset -> pairs
COUNTS: dict[str, int] = {
    "alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95, "mt-bench-easy": 28,
    "mt-bench-med": 40, "mt-bench-hard": 37, "llmbar-natural": 100, "llmbar-adver-neighbor": 134,
    "llmbar-adver-GPTInst": 92, "llmbar-adver-GPTOut": 47, "llmbar-adver-manual": 46,
    "refusals-dangerous": 100, "refusals-offensive": 100,
    "xstest-should-refuse": 154, "xstest-should-respond": 250, "donotanswer": 136, "math-prm": 447, "hep-cpp": 164,
    "hep-go": 164, "hep-java": 164, "hep-js": 164, "hep-python": 164, "hep-rust": 164,
}  # fmt: skip
PAIRS = sum(COUNTS.values())
MATH_PRM = 984  # six sets of code have 164 pairs each

#: ways to weigh subsets within a section. The first releases of its scripts have the two XSTest subsets the
#: other way round than the data set: there the section Safety differs.
WEIGHTS: dict[str, dict[str, int]] = {
    "published": {**COUNTS, "math-prm": MATH_PRM},
    "pairs": COUNTS,
    "early": {**COUNTS, "math-prm": MATH_PRM, "xstest-should-refuse": 250, "xstest-should-respond": 154},
}
SECTIONS: dict[str, tuple[str, ...]] = {
    "Chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "Chat Hard": (
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst", "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "xstest-should-respond", "donotanswer",
    ),
    "Reasoning": ("math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
}  # fmt: skip


def weights_of(subsets: Iterable[str], weights: str = "published") -> dict[str, float]:
    """Weights of subsets within a section, by the name of the convention.

    Example:
        >>> weights_of(["math-prm", "hep-go"]), weights_of(["math-prm"], "pairs")
        ({'math-prm': 984.0, 'hep-go': 164.0}, {'math-prm': 447.0})
    """
    return {name: float(WEIGHTS[weights][name]) for name in subsets}
