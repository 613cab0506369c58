"""What comes back from an expert: words with their uncertainty, and colours that keep their meaning."""

import numpy as np
import pytest
from PIL import Image

from experts.feedback import COLOURS, colour_of, draw_overlay, write_feedback
from vlmalign.records import Finding, ImageRef

REF = ImageRef(path="images/x.png", sha256="0" * 64)
STRUCTURES = ("red_cell", "platelet")


def finding(concept, status="present", **fields):
    return Finding(id=concept, image=REF, expert="cells@1", concept=concept, status=status, **fields)


FINDINGS = [
    finding("red_cell_cover", value=0.314, unit="1", std=0.021),
    finding("platelet_count", "uncertain", value=0.5, unit="1", std=0.5, probability=0.5),
    finding("diameter", value=63.0, unit="um"),
    finding("stain", value="very_pale"),
    finding("focus", "not_assessed"),
]


def test_findings_are_told_with_units_deviations_and_probabilities():
    text = write_feedback(Image.new("L", (2, 2)), FINDINGS).text
    assert text == (
        "Findings of cells@1: red cell cover 0.31 (std 0.021); platelet count 0.5 (std 0.5), uncertain "
        "(probability "
        "0.50); diameter 63 um; stain very pale; focus not assessed."
    )


def test_an_argument_leaves_only_what_is_about_it_in_words_and_in_colour():
    labels = np.array([[1, 2], [0, 2]], dtype=np.uint8)
    image = Image.new("RGB", (2, 2), (100, 100, 100))
    found = write_feedback(image, FINDINGS, labels, structures=STRUCTURES, argument="platelet")
    assert "cover" not in found.text and found.text.endswith("Colours: red: platelet.")
    pixels = np.asarray(found.overlay)
    assert (pixels[0, 0] == 100).all() and (pixels[1, 0] == 100).all()
    assert pixels[0, 1].tolist() == [round(0.55 * 100 + 0.45 * part) for part in COLOURS["red"]]


def test_a_structure_keeps_its_colour_when_the_others_are_not_on_the_image():
    only_platelets = np.full((2, 2), 2, dtype=np.uint8)
    found = write_feedback(Image.new("RGB", (2, 2)), FINDINGS, only_platelets, structures=STRUCTURES)
    assert "yellow: red cell; red: platelet" in found.text
    assert np.asarray(found.overlay)[0, 0].tolist() == [round(0.45 * part) for part in COLOURS["red"]]


def test_an_expert_that_says_nothing_is_told_so():
    assert write_feedback(Image.new("L", (2, 2)), [], argument="red_cell").text == (
        "The expert found nothing of red cell."
    )


def test_labels_of_another_size_and_too_many_structures_are_refused():
    with pytest.raises(ValueError, match=r"labels has shape \(2, 3\), expected \(2, 2\)"):
        draw_overlay(Image.new("RGB", (2, 2)), np.zeros((2, 3), dtype=np.uint8), [1])
    with pytest.raises(ValueError, match="label is 9"):
        colour_of(9)
