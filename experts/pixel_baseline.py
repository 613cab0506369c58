"""What a few pixels alone can tell: a logistic regression on a tiny grey picture, to show beside any classifier.

A classifier that is no better has learnt exposure, framing or the hospital's letters, or the task is that easy.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE = 16
STRENGTH = 0.01  # C of the L2 penalty


def tiny_pictures(images: Iterable[Image.Image], side: int = SIDE) -> NDArray[np.float64]:
    """Grey values (N, side * side) in 0..1 of images reduced to a square.

    Example:
        >>> tiny_pictures([Image.new("RGB", (40, 30), (255, 255, 255))]).shape
        (1, 256)
    """
    return np.stack(
        [np.asarray(i.convert("L").resize((side, side), Image.Resampling.BOX)).ravel() / 255.0 for i in images]
    )


def pixel_baseline(
    train: NDArray[np.float64], truth: NDArray[np.int8], test: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities (M,) of test pictures by a logistic regression on training pictures.

    Args:
        train: (N, P) grey values.
        truth: (N,) 0 or 1, both of which must occur.
        test: (M, P).

    Raises:
        ValueError: only one class in `truth`.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000))
    return model.fit(train, truth).predict_proba(test)[:, 1]
