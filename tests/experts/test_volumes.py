import numpy as np
import pytest

from experts.protocol import Examination, ExpertCard, Measured
from experts.volumes import examine_volume, to_grey


class Spaced:
    """Draws what is bright, and measures the height of a pixel."""

    card = ExpertCard(name="s", version="1", architecture="t", modality="ct", domain="t", concepts=("height",))

    def examine(self, images):
        raise AssertionError("asked without context")

    def examine_in_context(self, images, contexts):
        return [
            Examination(
                {"height": Measured(c.spacing_mm[0], 0.0, None, "mm")}, (np.asarray(i) > 128).astype(np.uint8)
            )
            for i, c in zip(images, contexts, strict=True)
        ]


def test_slices_share_one_window_and_their_masks_become_a_volume():
    volume = np.zeros((3, 4, 5))
    volume[1], volume[2, 0, 0] = 100, 300  # slice 1 is bright of itself, and dark in the window of all
    found = examine_volume(Spaced(), volume, window=(0, 300), spacing_mm=(0.5, 0.25))
    assert found.labels.shape == (3, 4, 5) and found.labels.sum() == 1 and found.labels[2, 0, 0] == 1
    assert [one.measurements["height"].value for one in found.slices] == [0.5] * 3


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((4, 5)), "expected .depth"),
        (np.zeros((2, 2, 2)), "no width"),
        (np.full((1, 1, 2), np.nan), "not finite"),
    ],
)
def test_volumes_that_cannot_be_shown_are_refused(volume, message):
    with pytest.raises(ValueError, match=message):
        to_grey(volume)
