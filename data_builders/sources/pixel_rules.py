"""Focus and stain of a real blood-smear field, measured from its pixels by fixed rules.

Nobody annotated focus and stain, so these are definitions, not opinions: each is one number per field and a
published threshold. Plain measures (variance of the Laplacian, mean saturation) turned out to measure how
many cells a field holds (over the fields of the BCCD photographs only 28 % and 7 % of their variance lies
between photographs, although focus and stain belong to a photograph); the two below do not depend on it.

*Edge width* (focus). A step edge blurred by a Gaussian of width s has the steepest gradient
proportional to 1 / sqrt(s^2 + t^2) after smoothing with t. With r the ratio of the gradient magnitudes at
t = 1 and t = 3 pixels, s^2 = (9 - r^2) / (r^2 - 1). The median of r is taken over the 5 % of pixels with the
strongest gradient at t = 3, in the green channel; as these lie beside the steepest line too, a very sharp edge
reads about half a pixel too wide. 69 % of its variance lies between photographs.

*Red-cell density* (stain). Optical density -ln(green / lamp), the lamp being the field's 95th percentile of
green; its median over stained pixels (density above 0.10) that are redder than blue, i.e. without nuclei.
45 % of its variance lies between photographs.

The thresholds divide the BCCD fields into about 72 % sharp, 28 % blurred and 27 % pale, 46 % normal, 27 % dark.
They were chosen once, from that distribution, before any result was seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude

EXPERT = "pixel_rule@1"
FINE, COARSE = 1.0, 3.0  # smoothing of the two gradients, pixels
EDGE_SHARE = 0.05
LEAST_GRADIENT = 1.5  # grey levels per pixel at the coarse scale: below it the field shows no edge to judge
BLURRED_ABOVE = 3.4  # edge width in pixels
STAINED = 0.10
LEAST_STAINED_SHARE = 0.05
PALE_BELOW, DARK_ABOVE = 0.22, 0.27


def edge_width(image: Image.Image) -> float | None:
    """Width of the field's edges in pixels, or None where no edge is strong enough.

    Example:
        >>> import numpy as np
        >>> from scipy.ndimage import gaussian_filter
        >>> step = np.zeros((64, 64, 3), dtype=np.uint8)
        >>> step[:, 32:] = 200
        >>> soft = gaussian_filter(step.astype(float), (3, 3, 0)).astype(np.uint8)
        >>> round(edge_width(Image.fromarray(soft)))
        3
        >>> edge_width(Image.new("RGB", (64, 64))) is None
        True
    """
    green = _pixels(image)[..., 1]
    coarse = gaussian_gradient_magnitude(green, COARSE)
    strongest = coarse >= np.quantile(coarse, 1 - EDGE_SHARE)
    if coarse[strongest].min() < LEAST_GRADIENT:
        return None
    ratio = float(np.median(gaussian_gradient_magnitude(green, FINE)[strongest] / coarse[strongest]))
    ratio = min(max(ratio, 1.001), COARSE / FINE - 0.001)
    return float(np.sqrt((COARSE**2 - (ratio * FINE) ** 2) / (ratio**2 - 1)))


def red_cell_density(image: Image.Image) -> float | None:
    """Median optical density of the stained pixels that are not nuclei, or None where too few are stained.

    Example:
        >>> import numpy as np
        >>> field = np.full((10, 10, 3), 200, dtype=np.uint8)
        >>> field[:5] = (180, 121, 120)
        >>> round(red_cell_density(Image.fromarray(field)), 2)
        0.5
    """
    density, stained = _stained(_pixels(image))
    if stained.mean() < LEAST_STAINED_SHARE:
        return None
    return float(np.median(density[stained]))


def stained_share(image: Image.Image) -> float:
    """Fraction of the field that is stained and not nucleus: about what red cells cover, their pale centres less.

    Example:
        >>> stained_share(Image.new("RGB", (8, 8), (200, 200, 200)))
        0.0
    """
    return float(_stained(_pixels(image))[1].mean())


def focus_of(image: Image.Image) -> str | None:
    """`sharp`, `blurred`, or None where the field shows nothing to judge it by."""
    width = edge_width(image)
    return None if width is None else "blurred" if width > BLURRED_ABOVE else "sharp"


def stain_of(image: Image.Image) -> str | None:
    """`pale`, `normal`, `dark`, or None where too little of the field is stained."""
    density = red_cell_density(image)
    if density is None:
        return None
    return "pale" if density < PALE_BELOW else "dark" if density > DARK_ABOVE else "normal"


def _pixels(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image.convert("RGB"), dtype=np.float32)


def _stained(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Optical density in green (H, W), and where the field is stained but not blue (H, W)."""
    green = pixels[..., 1]
    density = -np.log((green + 1) / np.float32(np.quantile(green, 0.95) + 1))
    return density, (density > STAINED) & (pixels[..., 0] >= pixels[..., 2])
