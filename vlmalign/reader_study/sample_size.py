"""How many cases a study needs for an interval of the wanted width."""

from __future__ import annotations

from scipy import stats

from vlmalign.evaluation.power import fewest
from vlmalign.evaluation.readers_and_cases import Estimand

MOST = 1_000_000


def variance_of_mean(
    n_cases: int,
    n_readers: int,
    *,
    variance: float,
    case_share: float,
    reader_share: float = 0.0,
    estimand: Estimand = "these readers",
) -> float:
    """Variance of the mean answer of a fully crossed study, by the two-way random model.

    V [ c / C + (1 - c - r) / (C R) + r / R ], the last term for new readers only, with C cases, R readers and the
    shares c and r of the variance V of one answer that lie between cases and between readers (Obuchowski &
    Rockette 1995, Commun. Stat. 24:285; Gallas et al. 2009 for the one-shot form).

    Example:
        >>> variance_of_mean(50, 2, variance=0.25, case_share=0.4)  # 0.25 (0.4 / 50 + 0.6 / 100)
        0.0035
    """
    between = reader_share / n_readers if estimand == "new readers" else 0.0
    rest = (1 - case_share - reader_share) / (n_cases * n_readers)
    return variance * (case_share / n_cases + rest + between)


def cases_needed(
    half_width: float,
    n_readers: int,
    *,
    win_rate: float = 0.5,
    tie_rate: float = 0.0,
    case_share: float = 0.3,
    reader_share: float = 0.05,
    estimand: Estimand = "these readers",
    level: float = 0.95,
) -> int:
    """Cases that each reader reads, so that the interval of a win rate (a tie is half) has the half-width.

    The quantile is t with C - 1 degrees of freedom for these readers; for new readers with the fewer of C - 1 and
    R - 1, which is careful: Satterthwaite's are more.

    Args:
        half_width: wanted, in (0, 0.5), e.g. 0.1.
        n_readers: R, each reading every case.
        win_rate: expected share of wins among decided answers.
        tie_rate: expected share of ties.
        case_share: share of the answers' variance between cases: how alike readers judge a case.
        reader_share: the same between readers.
        estimand: the mean of these readers, or of readers in general.
        level: coverage.

    Raises:
        ValueError: a number outside its range, or too few readers for this width whatever the number of cases.

    Example:
        >>> cases_needed(0.1, 1, case_share=0.0, reader_share=0.0)  # 1.98^2 * 0.25 / 0.1^2
        99
        >>> cases_needed(0.1, 3, estimand="new readers", reader_share=0.1)
        Traceback (most recent call last):
        ...
        ValueError: 3 readers differ too much for a half-width of 0.1 with any number of cases: take more ...
    """
    for name, value in (("win_rate", win_rate), ("tie_rate", tie_rate), ("level", level)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}: expected a share from 0 to 1")
    if not 0 < half_width < 0.5:
        raise ValueError(f"half_width is {half_width}: expected more than 0 and less than 0.5, e.g. 0.1")
    if n_readers < 1 or case_share < 0 or reader_share < 0 or case_share + reader_share > 1:
        raise ValueError(
            f"n_readers is {n_readers}, case_share {case_share}, reader_share {reader_share}: expected at least "
            "one reader, and shares that are not negative and sum to at most 1"
        )
    if estimand == "new readers" and n_readers < 2:
        raise ValueError("one reader says nothing about new readers: take more, or ask for these readers")
    variance = _variance(win_rate, tie_rate)

    def narrow(n: int) -> bool:
        var = variance_of_mean(
            n, n_readers, variance=variance, case_share=case_share, reader_share=reader_share, estimand=estimand
        )
        degrees = n - 1 if estimand == "these readers" else min(n - 1, n_readers - 1)
        return bool(stats.t.ppf((1 + level) / 2, degrees) * var**0.5 <= half_width)

    if not narrow(MOST):
        raise ValueError(
            f"{n_readers} readers differ too much for a half-width of {half_width:g} with any number of cases: "
            "take more readers, or ask for these readers"
        )
    return fewest(narrow, MOST)


def _variance(win_rate: float, tie_rate: float) -> float:
    """Of an answer that is 1 for a win, 0 for a loss and 1/2 for a tie."""
    wins = win_rate * (1 - tie_rate)
    mean = wins + tie_rate / 2
    return wins + tie_rate / 4 - mean**2
