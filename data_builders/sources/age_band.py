"""Ages as bands: exact ages identify, and nobody's analysis needs them."""

from __future__ import annotations

BANDS = ((18, "child"), (40, "18-39"), (60, "40-59"), (80, "60-79"))
OLDEST = "80+"
PLAUSIBLE = 120


def age_band(years: float | None) -> str | None:
    """The band of an age; None where it is unknown or cannot be (negative, above 120).

    Example:
        >>> [age_band(years) for years in (3, 18, 59.9, 97, 411, None)]
        ['child', '18-39', '40-59', '80+', None, None]
    """
    if years is None or not 0 <= years <= PLAUSIBLE:
        return None
    return next((band for limit, band in BANDS if years < limit), OLDEST)
