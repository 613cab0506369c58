"""Segmentation experts held against drawn masks and stated numbers, worked by hand on small grids."""

import numpy as np
import pytest
from PIL import Image

from experts import read_card
from experts.mask_measures import MaskMeasure
from experts.mask_performance import mask_performance
from experts.measuring import measure_expert
from experts.protocol import Examination, ExpertCard, Measured
from vlmalign.records import Case, DataError, DatasetBuild, Finding, RecordFolder, Reference, Region, user

AREA = MaskMeasure(concept="cup_area", kind="area", of="cup")
APART = {"cup": ("cup",), "rim": ("rim",)}
WHOLE = {"cup": ("cup",), "disc": ("cup", "rim")}


class Drawn:
    """An expert that answers from a list."""

    card = ExpertCard(
        name="drawn", version="1", architecture="toy", modality="fundus", domain="toy", structures=("cup", "rim"),
        concepts=("cup_area",),
    )  # fmt: skip

    def __init__(self, *examinations):
        self.left = iter(examinations)

    def examine(self, images):
        return [next(self.left) for _ in images]


def seen(rows, area=None, unit="px2"):
    measured = {} if area is None else {"cup_area": Measured(area, 0.0, 1.0, unit)}
    missing = {"cup_area": "the mask is empty"} if area is None else {}
    return Examination(measured, np.array(rows, dtype=np.uint8), not_assessed=missing)


@pytest.fixture
def folder(tmp_path):
    """Writes cases: one (group, {(concept, observer): mask rows or a number}) each."""

    def write(*cases):
        with DatasetBuild(tmp_path / "cases", "case", {"n": len(cases)}) as build:
            for number, (group, known) in enumerate(cases):
                image = build.add_image(Image.fromarray(np.full((2, 4), 9 * number, np.uint8)), modality="fundus")
                findings = []
                for (concept, who), said in known.items():
                    region, value = None, None
                    if isinstance(said, float):
                        value = said
                    else:
                        mask = build.add_image(Image.fromarray(np.array(said, dtype=np.uint8)))
                        region = Region(mask=mask.path)
                    findings.append(Finding(
                        id=f"{number}/{concept}/{who}", image=image, concept=concept, status="present",
                        value=value, unit=None if value is None else "px2", region=region, expert=f"{who}@1",
                    ))  # fmt: skip
                build.commit(str(number), [Case(
                    id=str(number), images=(image,), messages=(user("?", images=1),), domain="toy", group_id=group,
                    reference=Reference(findings=tuple(findings)), group_kind="patient",
                )])  # fmt: skip
        return RecordFolder(tmp_path / "cases", Case)

    return write


def of(found):
    return {(m.name, m.structure): m for m in found.metrics}


def test_dice_errors_and_what_could_not_be_assessed_by_hand(folder):
    cases = folder(
        ("a", {("cup", "x"): [[1, 1, 0, 0], [0, 0, 0, 0]]}),
        ("b", {("cup", "x"): [[1, 1, 1, 1], [0, 0, 0, 0]]}),
        ("b", {("cup", "x"): [[1, 0, 0, 0], [0, 0, 0, 0]]}),
    )
    expert = Drawn(
        seen([[1, 0, 0, 0], [0, 0, 0, 0]], 1.0),  # Dice 2/3, error -1
        seen([[1, 1, 1, 1], [1, 1, 0, 0]], 6.0),  # Dice 8/10, error +2
        seen([[2, 0, 0, 0], [0, 0, 0, 0]]),  # Dice 0; nothing measured
    )
    found = mask_performance(expert, cases, list(cases), compared=APART, measures=[AREA])
    metrics = of(found)
    assert metrics["dice", "cup"].value == pytest.approx((2 + 8) / (3 + 10 + 1), abs=1e-6)
    assert metrics["mean_dice", "cup"].value == pytest.approx((2 / 3 + 0.8) / 3, abs=1e-6)
    assert metrics["mae", "cup_area"].value == 1.5 and metrics["bias", "cup_area"].value == 0.5
    assert metrics["bias", "cup_area"].low < -1  # an error may be negative, and so may its interval
    assert metrics["not_assessed", "cup_area"].value == pytest.approx(1 / 3, abs=1e-6)
    assert (metrics["dice", "cup"].images, metrics["dice", "cup"].groups) == (3, 2)
    assert (metrics["mae", "cup_area"].images, metrics["mae", "cup_area"].groups) == (2, 2)
    assert found.in_masks == ("cup_area",) and "rim" not in found.measured  # nobody drew a rim: not a Dice of 0


def test_a_stated_number_goes_before_one_that_is_measured_in_masks(folder):
    cases = folder(("a", {("cup", "x"): [[1, 1, 0, 0], [0, 0, 0, 0]], ("cup_area", "x"): 5.0}))
    found = mask_performance(
        Drawn(seen([[1, 1, 0, 0], [0, 0, 0, 0]], 2.0)), cases, list(cases), compared=APART, measures=[AREA]
    )
    assert of(found)["bias", "cup_area"].value == -3.0 and found.in_masks == ()
    assert of(found)["dice", "cup"].low is None  # one patient has no interval


def test_a_disc_that_holds_its_cup_is_held_against_cup_and_rim_or_refused(folder):
    drawn = [[1, 2, 2, 0], [0, 0, 0, 0]]
    cases = folder(("a", {("cup", "x"): [[1, 0, 0, 0], [0] * 4], ("disc", "x"): [[1, 1, 1, 0], [0] * 4]}))
    naive = {"cup": ("cup",), "disc": ("rim",)}
    with pytest.raises(DataError, match=r"--compare disc=rim\+cup --compare cup=cup"):
        mask_performance(Drawn(seen(drawn, 1.0)), cases, list(cases), compared=naive)
    found = of(mask_performance(Drawn(seen(drawn, 1.0)), cases, list(cases), compared=WHOLE))
    assert found["dice", "disc"].value == found["dice", "cup"].value == 1.0


def test_of_two_observers_one_must_be_chosen(folder):
    cases = folder(("a", {("cup", "x"): [[1] * 4, [0] * 4], ("cup", "y"): [[1] * 4, [1] * 4]}))
    drawn = seen([[1] * 4, [1] * 4], 8.0)
    with pytest.raises(DataError, match=r"two findings of 'cup' for one image, by x@1 and y@1\. Choose one with"):
        mask_performance(Drawn(drawn), cases, list(cases), compared=APART)
    with pytest.raises(DataError, match=r"no reference finding is by 'z'\. Known: x@1, y@1"):
        mask_performance(Drawn(drawn), cases, list(cases), compared=APART, observer="z")
    for who, dice in (("x@1", 2 / 3), ("y", 1.0)):
        found = of(mask_performance(Drawn(drawn), cases, list(cases), compared=APART, observer=who))
        assert found["dice", "cup"].value == pytest.approx(dice, abs=1e-6)


def test_millimetres_are_never_held_against_pixels(folder):
    cases = folder(("a", {("cup_area", "x"): 5.0}))
    with pytest.raises(DataError, match="cup_area is in px2 in the reference and in mm2 for the expert"):
        mask_performance(Drawn(seen([[0] * 4] * 2, 2.0, "mm2")), cases, list(cases), compared=APART)


def test_a_trained_network_is_measured_on_other_cases_and_stays_the_same_expert(trained, make_discs, tmp_path):
    before = read_card(trained)
    out = measure_expert(trained, make_discs(tmp_path / "cases", groups=8, seed=7), tmp_path / "out")
    card, metrics = read_card(out), {(m.name, m.structure): m for m in read_card(out).performance}
    new = {f"group-{i}" for i in range(8)} - set(before.training_groups)
    assert card.id == before.id and metrics["dice", "disc"].groups <= len(new)
    assert metrics["dice", "disc"].value > 0.5 and metrics["mae", "disc_count"].value < 1
    assert any(text.startswith("Performance unknown for") and "disc_cover" in text for text in card.limits)
    assert measure_expert(trained, tmp_path / "cases", out) == out
    with pytest.raises(ValueError, match="draws masks: thresholds are for presences"):
        measure_expert(trained, tmp_path / "cases", tmp_path / "x", choose="f1")
    with pytest.raises(ValueError, match="Did you mean 'disc'"):
        measure_expert(trained, tmp_path / "cases", tmp_path / "x", compare=["disc=dics"])
    assert not (tmp_path / "x").exists()


def test_an_adopted_network_says_no_more_that_nobody_measured_it(adopt_from, make_discs, tmp_path):
    import torch
    from monai.networks.nets import UNet
    from safetensors.torch import save_file

    arguments = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "channels": [4, 8], "strides": [2]}
    torch.manual_seed(0)
    save_file(UNet(**arguments).state_dict(), tmp_path / "w.safetensors")
    settings = {
        "task": "segmentation", "network": "UNet", "arguments": arguments, "weights": ["w.safetensors"],
        "preparation": {"size": 32, "channels": 3}, "structures": ["disc", "dot"],
        "measures": [{"concept": "disc_area", "kind": "area", "of": "disc"},
                     {"concept": "disc", "kind": "presence", "of": "disc"}],
    }  # fmt: skip
    adopted = adopt_from("monai_network", settings, {"w.safetensors": str(tmp_path / "w.safetensors")})
    assert any("nobody has measured it" in text for text in read_card(adopted).limits)
    card = read_card(measure_expert(adopted, make_discs(tmp_path / "cases"), tmp_path / "measured"))
    assert not any("nobody has measured it" in text for text in card.limits)
    assert {("dice", "disc"), ("dice", "dot"), ("mae", "disc_area"), ("bias", "disc_area")} <= {
        (m.name, m.structure) for m in card.performance
    }
    assert "disc_area: the references were measured in the reference masks." in card.limits
