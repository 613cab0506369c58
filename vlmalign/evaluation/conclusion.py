"""What an interval allows one to say, in words."""

from __future__ import annotations

from scipy import stats

from vlmalign.evaluation.estimate import Estimate

#: two names of one number, as people think of it who ask what is of interest, or what is not
OF_INTEREST, OF_NO_INTEREST = "smallest difference of interest", "largest difference of no interest"


def check_margin(margin: float, meaning: str = OF_INTEREST, *, called: str = "margin") -> None:
    """Refuse a margin that is no positive number; nan is none, and a comparison with it would only be False.

    Args:
        margin: in shares.
        meaning: what it is, for the error.
        called: its name, for the error.

    Raises:
        ValueError: as said.

    Example:
        >>> check_margin(0.0, called="--margin")
        Traceback (most recent call last):
        ...
        ValueError: --margin is 0.0: give the smallest difference of interest, e.g. 0.02 for 2 points
    """
    if not 0 < margin < float("inf"):
        raise ValueError(f"{called} is {margin}: give the {meaning}, e.g. 0.02 for 2 points")


def conclude(difference: Estimate, margin: float) -> str:
    """The conclusion that a difference's interval allows.

    Args:
        difference: of two arms, in shares (0.02 is two points), higher being better.
        margin: differences inside plus or minus this are of no practical interest.

    Returns:
        "benefit" (lower end above 0), "harm" (upper end below 0), "none above x points" (neither, and the
        whole interval within the margin), or "undecided".

    Raises:
        ValueError: the margin is no positive number.

    Example:
        >>> conclude(Estimate(0.01, -0.01, 0.018, 400, 40, 0, "t"), margin=0.02)
        'none above 2 points'
    """
    check_margin(margin)
    if difference.low is None or difference.high is None:
        return "undecided"
    if difference.low > 0:
        return "benefit"
    if difference.high < 0:
        return "harm"
    if -margin <= difference.low and difference.high <= margin:
        return f"none above {100 * margin:g} points"
    return "undecided"


def explain(difference: Estimate, margin: float, *, subject: str = "whole-report accuracy") -> str:
    """One plain sentence on a difference of two arms: what it says, its interval, and what it could have shown.

    Args:
        difference: as for `conclude`.
        margin: as for `conclude`.
        subject: what was measured.

    Example:
        >>> explain(Estimate(0.2, 0.12, 0.28, 400, 40, 0, "t"), 0.02)
        'Whole-report accuracy is 20.0 points higher (95% interval +12.0 to +28.0).'
    """
    check_margin(margin)
    subject = subject[:1].upper() + subject[1:]
    if difference.mean is None:
        return f"{subject}: nothing could be compared ({difference.excluded} items excluded)."
    if difference.low is None or difference.high is None:
        return f"{subject}: {100 * difference.mean:+.1f} points, without an interval ({difference.method})."
    interval = f"95% interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    verdict = conclude(difference, margin)
    if verdict in ("benefit", "harm"):
        side = "higher" if verdict == "benefit" else "lower"
        return f"{subject} is {100 * abs(difference.mean):.1f} points {side} ({interval})."
    if verdict == "undecided":
        detectable = smallest_detectable(difference)
        effect = "" if detectable is None else f" An effect of {100 * detectable:.0f} points"
        tail = effect and f"{effect} would have shown with 80% power."
        return f"{subject}: no conclusion, {100 * difference.mean:+.1f} points ({interval}).{tail}"
    return f"{subject} differs by no more than {100 * margin:g} points either way ({interval})."


def smallest_detectable(difference: Estimate, power: float = 0.8) -> float | None:
    """The smallest true effect that such data show with this power: (z_0.975 + z_power) * se.

    The standard error is taken from the 95 % interval, half its width over 1.96; for a t interval on few
    clusters this is larger than the plain standard error, as it should be.

    Returns:
        The effect in the units of the difference, or None without an interval.

    Example:
        >>> round(smallest_detectable(Estimate(0.0, -0.098, 0.098, 400, 40, 0, "t")), 2)  # se = 0.05
        0.14
    """
    if difference.low is None or difference.high is None:
        return None
    standard_error = (difference.high - difference.low) / 2 / stats.norm.ppf(0.975)
    return float((stats.norm.ppf(0.975) + stats.norm.ppf(power)) * standard_error)
