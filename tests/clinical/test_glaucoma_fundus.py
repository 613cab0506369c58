"""The optic disc: suspect or not by hand, policies of the ratio, two eyes, ungradable photographs, wording."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from vlmalign.clinical import (
    answers_from_findings,
    derive,
    is_consistent,
    load_logic,
    parse_answer,
    parse_conversation,
    parse_text,
    render_conversation,
    render_report,
)
from vlmalign.clinical.between_eyes import ASYMMETRY, RATIO, compare_eyes
from vlmalign.clinical.paths import forced_values
from vlmalign.records import DataError, Finding, ImageRef

CALM = {
    "eye": "right", "image_quality": "good", "vcdr": "normal", "disc_size": "average", "rim": "regular",
    "rim_sector": "not_applicable", "isnt": "followed", "haemorrhage": "absent", "rnfl_defect": "absent",
    "peripapillary_atrophy": "absent", "asymmetry": "one_eye", "impression": "not_suspect",
}  # fmt: skip
SUSPECT = {
    **CALM, "eye": "both", "image_quality": "limited", "vcdr": "large", "disc_size": "large", "rim": "notched",
    "rim_sector": "inferior", "isnt": "broken", "haemorrhage": "present", "asymmetry": "present",
    "peripapillary_atrophy": "present", "impression": "suspect",
}  # fmt: skip
SIGNS = [name for name in CALM if name not in ("eye", "image_quality", "impression")]
DARK = {
    "eye": "left", "image_quality": "ungradable", **dict.fromkeys(SIGNS, "not_gradable"),
    "impression": "not_assessable",
}  # fmt: skip


@pytest.fixture(scope="module")
def disc():
    return load_logic("glaucoma_fundus")


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ratio(eye: str | None, value: float, std: float | None = None, *, name: str = "") -> Finding:
    image = ImageRef(path=f"images/{eye}{name}.png", sha256=sha256_of(f"{eye}{name}"), laterality=eye)
    return Finding(
        id=f"r-{eye}{name}", image=image, concept=RATIO, status="present", value=value, std=std, expert="cup@1"
    )


def test_hand_made_paths_are_valid_and_their_concepts_are_all(disc):
    assert set(disc.order) == set(CALM) == set(DARK)
    for path in (CALM, SUSPECT, DARK):
        assert is_consistent(disc, path)
        assert derive(disc, {k: v for k, v in path.items() if k != "impression"}) == path


@pytest.mark.parametrize(
    ("changed", "impression"),
    [
        ({"vcdr": "large"}, "suspect"),
        ({"vcdr": "borderline"}, "not_suspect"),
        ({"rim": "thinned", "rim_sector": "inferior"}, "suspect"),
        ({"rim": "notched", "rim_sector": "superior"}, "suspect"),
        ({"haemorrhage": "present"}, "suspect"),
        ({"rnfl_defect": "present"}, "suspect"),
        ({"eye": "both", "asymmetry": "present"}, "suspect"),
        ({"eye": "both", "asymmetry": "none"}, "not_suspect"),
        ({"peripapillary_atrophy": "present"}, "not_suspect"),
        ({"isnt": "broken"}, "not_suspect"),
        ({"disc_size": "large"}, "not_suspect"),
    ],
)
def test_one_sign_makes_a_disc_suspect_or_does_not(disc, changed, impression):
    path = {**CALM, **changed, "impression": impression}
    assert is_consistent(disc, path)
    for other in {"suspect", "not_suspect", "not_assessable"} - {impression}:
        assert not is_consistent(disc, {**path, "impression": other})


def test_an_ungradable_photograph_leaves_every_sign_ungraded_and_the_other_way_round(disc):
    forced = forced_values(disc, {"image_quality": "ungradable"})
    assert forced == {**dict.fromkeys(SIGNS, "not_gradable"), "impression": "not_assessable"}
    for sign in SIGNS:
        assert forced_values(disc, {sign: "not_gradable"})["image_quality"] == "ungradable"
        other = next(v for v in disc.concepts[sign].values if v != "not_gradable")
        assert not is_consistent(disc, {"image_quality": "ungradable", sign: other})
    assert is_consistent(disc, {"image_quality": "ungradable", "vcdr": "not_assessed"})


def test_flips_of_the_rim_and_the_eyes_propagate(disc):
    assert forced_values(disc, {"rim": "regular"}) == {"rim_sector": "not_applicable"}
    assert forced_values(disc, {"rim_sector": "inferior"})["impression"] == "suspect"
    assert "rim" not in forced_values(disc, {"rim_sector": "inferior"})  # thinned or notched
    assert forced_values(disc, {"eye": "left", "image_quality": "good"})["asymmetry"] == "one_eye"
    assert forced_values(disc, {"asymmetry": "present"})["eye"] == "both"
    calm = forced_values(disc, {"impression": "not_suspect"})
    assert (calm["rim"], calm["haemorrhage"], calm["rnfl_defect"]) == ("regular", "absent", "absent")


@pytest.mark.parametrize(
    ("policy", "edges"),
    [
        ("vcdr_07", {0.49: "normal", 0.5: "borderline", 0.69: "borderline", 0.70: "large"}),
        ("vcdr_06", {0.49: "normal", 0.5: "borderline", 0.60: "borderline", 0.61: "large"}),  # above 0.6
        ("vcdr_08", {0.70: "borderline", 0.79: "borderline", 0.80: "large"}),
    ],
)
def test_policies_differ_in_the_ratio_that_makes_a_disc_suspect(policy, edges):
    logic = load_logic(f"glaucoma_fundus@{policy}")
    measurement = logic.concepts["vcdr"].measurement
    assert {number: measurement.band(number) for number in edges} == edges
    for number, value in edges.items():
        text = f"The vertical cup-to-disc ratio is {number:.2f}."
        assert parse_text(logic, text).answers == {"vcdr": value}


def test_the_same_disc_is_suspect_under_one_policy_and_not_under_another(finding):
    found = {}
    for policy in ("vcdr_06", "vcdr_07", "vcdr_08"):
        logic = load_logic(f"glaucoma_fundus@{policy}")
        answers = {k: v for k, v in CALM.items() if k not in ("vcdr", "impression")}
        findings = [finding(name, value) for name, value in answers.items()]
        found[policy] = answers_from_findings(logic, [*findings, finding(RATIO, 0.72)]).answers["impression"]
    assert found == {"vcdr_06": "suspect", "vcdr_07": "suspect", "vcdr_08": "not_suspect"}
    lone = {**CALM, "eye": "both", "asymmetry": "present", "impression": "suspect"}
    assert is_consistent(load_logic("glaucoma_fundus"), lone)
    assert not is_consistent(load_logic("glaucoma_fundus@vcdr_08"), lone)  # it has one photograph only


def test_asymmetry_comes_from_two_eyes_and_is_not_assessed_of_one(disc, finding):
    good = finding("image_quality", "good")
    both = compare_eyes([ratio("right", 0.70), ratio("left", 0.50)])
    found = answers_from_findings(disc, [good, *both])
    assert found.answers["eye"] == "both" and found.answers["asymmetry"] == "present"  # 0.2 itself counts
    near = answers_from_findings(disc, [good, *compare_eyes([ratio("right", 0.65), ratio("left", 0.5)])])
    assert near.answers["asymmetry"] == "none"
    one = answers_from_findings(disc, [good, *compare_eyes([ratio("left", 0.5), ratio(None, 0.9)])])
    assert one.answers["eye"] == "left" and "asymmetry" not in one.answers
    assert one.not_assessed["asymmetry"] == f"cup@1 did not assess {ASYMMETRY}"
    # somebody else's asymmetry of one eye is refused by what the measurement needs
    odd = answers_from_findings(disc, [good, finding("eye", "left"), finding(ASYMMETRY, 0.4)])
    assert "eye is left" in odd.not_assessed["asymmetry"]


def test_the_deviation_of_an_asymmetry_is_that_of_a_difference():
    # 3-4-5: sqrt(0.03^2 + 0.04^2) = 0.05; two pictures of one eye count with their mean
    made = compare_eyes([ratio("right", 0.8, 0.03), ratio("left", 0.5, 0.04)])[1]
    assert (made.value, made.std) == (pytest.approx(0.3), pytest.approx(0.05))
    two = [ratio("left", 0.9, 0.03, name="a"), ratio("left", 0.7, 0.04, name="b")]
    turned = compare_eyes([ratio("right", 0.5, 0.06), *two])
    assert turned[1].value == pytest.approx(0.3)  # of the larger ratio on the left alike
    assert turned[1].std == pytest.approx(0.065)  # the mean of two: 0.05 / 2; 0.025, 0.06, 0.065
    pair = [ratio("left", 0.4, name="a"), ratio("left", 0.6, name="b")]
    assert compare_eyes([ratio("right", 0.8, 0.03), *pair])[1].value == pytest.approx(0.3)
    assert compare_eyes([ratio("right", 0.8, 0.03), *pair])[1].std is None
    assert compare_eyes([]) == []


def test_measurements_need_a_gradable_photograph_and_millimetres(disc, finding):
    dark = answers_from_findings(disc, [finding("image_quality", "ungradable"), finding(RATIO, 0.9)])
    assert dark.answers == {"image_quality": "ungradable", "impression": "not_assessable"}
    assert "image_quality is ungradable" in dark.not_assessed["vcdr"]
    good = finding("image_quality", "good")
    for size, value in ((1.4, "small"), (1.5, "average"), (2.2, "average"), (2.3, "large")):
        found = answers_from_findings(disc, [good, finding("vertical_disc_diameter", size, unit="mm")])
        assert found.answers["disc_size"] == value
    with pytest.raises(DataError, match="unit is 'px', the bands are in 'mm'"):
        answers_from_findings(disc, [good, finding("vertical_disc_diameter", 180.0, unit="px")])


def test_the_parser_recovers_every_bank_and_the_test_side_is_held_out(disc):
    for name, concept in disc.concepts.items():
        for value, wording in concept.values.items():
            assert len(wording.sentences.train) >= 3 and len(wording.sentences.test) >= 2
            for text in wording.sentences.all:
                assert parse_text(disc, text).answers == {name: value}, text
            for text in wording.answers.all if wording.answers else ():
                assert parse_answer(disc, name, text) == value, text


@pytest.mark.parametrize("path", [CALM, SUSPECT, DARK])
def test_flipping_one_answer_flips_that_parse_alone(disc, path):
    for name in disc.order:
        for value in disc.concepts[name].values:
            text = render_report(disc, {**path, name: value}, seed=2)
            assert parse_text(disc, text).answers == {**path, name: value}


def test_conversations_in_three_orders_read_back_under_both_banks(disc):
    for seed, order in enumerate(("canonical", "impression_first", "shuffled")):
        for path, bank in itertools.product((CALM, SUSPECT, DARK), ("train", "test")):
            parsed = parse_conversation(disc, render_conversation(disc, path, seed=seed, order=order, bank=bank))
            assert parsed.answers == path and not parsed.unrecognised and not parsed.unsupported
            if order == "impression_first":
                assert parsed.claims[0].concept == "impression"


SENTENCES = [
    ("Vertical CDR 0.8.", {"vcdr": "large"}),
    ("C/D ratio of 0.3.", {"vcdr": "normal"}),
    ("vCDR: 0.55", {"vcdr": "borderline"}),
    ("The cup-to-disc ratio is about 0.7.", {"vcdr": "large"}),
    ("The right eye shows a large cup.", {"eye": "right", "vcdr": "large"}),
    ("The cup is not enlarged.", {"vcdr": "normal"}),
    ("The cup-to-disc ratio is more than 0.7.", {}),  # a bound, not a ratio
    ("A large disc with a large cup.", {"disc_size": "large", "vcdr": "large"}),
    ("Small optic disc.", {"disc_size": "small"}),
    ("The vertical disc diameter is 1.8 mm.", {"disc_size": "average"}),
    ("The rim is thinned inferiorly.", {"rim": "thinned", "rim_sector": "inferior"}),
    ("There is a notch of the rim at the lower pole.", {"rim": "notched", "rim_sector": "inferior"}),
    ("Superior rim thinning.", {"rim": "thinned", "rim_sector": "superior"}),
    ("The neuroretinal rim is intact and the ISNT rule is obeyed.", {"rim": "regular", "isnt": "followed"}),
    ("The rim does not follow the ISNT rule.", {"isnt": "broken"}),
    ("The ISNT rule is not violated.", {"isnt": "followed"}),
    ("No disc hemorrhage.", {"haemorrhage": "absent"}),
    ("A splinter haemorrhage is visible at the disc.", {"haemorrhage": "present"}),
    ("No haemorrhage, nerve fibre layer defect or peripapillary atrophy.",
     {"haemorrhage": "absent", "rnfl_defect": "absent", "peripapillary_atrophy": "absent"}),
    ("There is no RNFL defect, but peripapillary atrophy is present.",
     {"rnfl_defect": "absent", "peripapillary_atrophy": "present"}),
    ("Beta-zone PPA.", {"peripapillary_atrophy": "present"}),
    ("An RNFL defect may be present.", {"rnfl_defect": "uncertain"}),
    ("A disc haemorrhage cannot be excluded.", {"haemorrhage": "uncertain"}),
    ("Possible nerve fiber layer defect.", {"rnfl_defect": "uncertain"}),
    ("The rim cannot be assessed.", {"rim": "not_assessed"}),
    ("The photograph is blurred.", {"image_quality": "limited"}),
    ("The image is not gradable.", {"image_quality": "ungradable"}),
    ("There is no cup asymmetry.", {"asymmetry": "none"}),
    ("Asymmetry of the cup-to-disc ratios of 0.25.", {"asymmetry": "present"}),
    ("Both eyes show the same; the cups are symmetrical.", {"eye": "both", "asymmetry": "none"}),
    ("The disc is suspicious for glaucoma.", {"impression": "suspect"}),
    ("This is a glaucoma suspect.", {"impression": "suspect"}),
    ("The disc is not suspicious.", {"impression": "not_suspect"}),
    ("There is no suspicion of glaucoma.", {"impression": "not_suspect"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "answers"), SENTENCES)
def test_sentences_of_graders_are_read_as_they_mean_them(disc, text, answers):
    parsed = parse_text(disc, text)
    assert parsed.answers == answers and not parsed.unsupported


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The patient has glaucoma.", "diagnosis"),
        ("No glaucoma.", "diagnosis"),
        ("Glaucomatous cupping.", "diagnosis"),
        ("Early normal-tension glaucoma.", "diagnosis"),
        ("The IOP is 24 mmHg.", "other_test"),
        ("Visual field loss is expected.", "other_test"),
        ("The cup has progressed since the last visit.", "comparison"),
        ("There is a family history.", "history"),
        ("Refer to a glaucoma suspect clinic.", "recommendation"),
    ],
)
def test_a_photograph_supports_no_diagnosis_pressure_field_or_history(disc, text, kind):
    assert kind in {u.kind for u in parse_text(disc, text).unsupported}
