import pytest

from vlmalign.clinical import answers_from_findings
from vlmalign.clinical.evidence import band_probabilities
from vlmalign.records import DataError


def test_band_probabilities_are_normal_masses_worked_by_hand(smear):
    count = smear.concepts["platelets"].measurement
    # Phi(-1.5) = 0.0668, Phi(0.5) = 0.6915: bands meet at 0.5 and 2.5
    assert band_probabilities(count, 2.0, std=1.0) == pytest.approx(
        {"none": 0.0668, "few": 0.6247, "many": 0.3085}, abs=1e-4
    )
    cover = smear.concepts["crowding"].measurement
    # not a count: bands meet at 0.20 and 0.40; Phi(1) = 0.8413
    assert band_probabilities(cover, 0.42, std=0.02)["crowded"] == pytest.approx(0.8413, abs=1e-4)


def test_presence_probability_replaces_the_mass_of_zero_and_scales_the_rest(smear):
    count = smear.concepts["platelets"].measurement
    found = band_probabilities(count, 2.0, std=1.0, probability=0.9)
    assert found == pytest.approx(
        {"none": 0.1, "few": 0.9 * 0.6247 / 0.9332, "many": 0.9 * 0.3085 / 0.9332}, abs=1e-4
    )
    # counted zero, but present with 0.3: that share goes to the smallest count
    assert band_probabilities(count, 0.0, probability=0.3) == pytest.approx({"none": 0.7, "few": 0.3, "many": 0.0})


@pytest.mark.parametrize("std", [None, 0.0, 0.3, 2.0, 100.0])
@pytest.mark.parametrize("value", [0.0, 0.6, 1.0, 2.5, 40.0])
def test_band_probabilities_sum_to_one(smear, value, std):
    for probability in (None, 0.0, 0.25, 1.0):
        count = band_probabilities(
            smear.concepts["platelets"].measurement, value, std=std, probability=probability
        )
        assert sum(count.values()) == pytest.approx(1.0)
        assert all(mass >= 0 for mass in count.values())


def test_exact_is_the_limit_of_a_small_deviation(smear):
    count = smear.concepts["platelets"].measurement
    for value in (0.4, 0.6, 1.0, 2.4, 2.6):
        assert band_probabilities(count, value) == pytest.approx(band_probabilities(count, value, std=1e-6))


def test_exact_findings_become_answers_with_derived_ones(smear, finding):
    found = answers_from_findings(
        smear,
        [
            finding("focus", "blurred"),
            finding("leukocyte_kind", "segmented"),
            finding("leukocyte_count", 1.0, unit="1"),
            finding("platelet_count", 0.0, unit="1"),
            finding("red_cell_cover", 0.2, unit="1"),
            finding("red_cell_count", 12.0, unit="1"),
        ],
    )
    assert found.answers == {
        "focus": "blurred",
        "leukocyte": "present",
        "leukocyte_kind": "segmented",
        "crowding": "moderate",  # 0.20 belongs to the band above it
        "platelets": "none",
        "impression": "leukocyte_field",
    }
    assert found.uncertain == {} and found.unused == ("red_cell_count",)


def test_answer_needs_its_probability_and_uncertain_ones_are_listed(smear, finding):
    findings = [
        finding("red_cell_cover", 0.42, std=0.02),  # 0.8413
        finding("leukocyte_count", 1.0, std=0.1, probability=0.7),
        finding("platelet_count", 1.4, std=0.4),
    ]
    found = answers_from_findings(smear, findings, min_probability=0.8)
    assert found.answers == {"crowding": "crowded", "platelets": "few", "impression": "thick_area"}
    assert found.uncertain == {"leukocyte": pytest.approx(0.7)}
    strict = answers_from_findings(smear, findings, min_probability=0.9)
    assert strict.answers == {"platelets": "few"}
    assert set(strict.uncertain) == {"leukocyte", "crowding"}


def test_not_assessed_says_nothing_and_uncertain_never_settles(smear, finding):
    found = answers_from_findings(
        smear,
        [finding("leukocyte", status="not_assessed"), finding("platelet_count", 9.0, status="uncertain", std=0.1)],
    )
    assert found.answers == {}
    assert found.uncertain == {"platelets": pytest.approx(1.0)}
    assert answers_from_findings(smear, []).answers == {}


def test_status_alone_settles_presence_but_not_a_number_of_platelets(smear, finding):
    present = answers_from_findings(
        smear, [finding("leukocyte", status="present"), finding("platelet_count", status="present")]
    )
    assert present.answers == {"leukocyte": "present"}
    assert present.uncertain == {"platelets": 0.5}  # few or many
    absent = answers_from_findings(
        smear, [finding("leukocyte", status="absent"), finding("platelet_count", status="absent")]
    )
    assert absent.answers == {"leukocyte": "absent", "platelets": "none"}


def test_findings_of_one_concept_are_averaged_so_that_disagreement_is_uncertain(smear, finding):
    both = [finding("leukocyte", status="present"), finding("leukocyte_count", 0.0)]
    assert answers_from_findings(smear, both).uncertain == {"leukocyte": 0.5}
    agreeing = [finding("leukocyte", status="present"), finding("leukocyte_count", 1.0, probability=0.8)]
    assert answers_from_findings(smear, agreeing).answers == {"leukocyte": "present"}


def test_category_with_a_low_probability_is_uncertain(smear, finding):
    found = answers_from_findings(smear, [finding("stain", "pale", probability=0.6)])
    assert found.uncertain == {"stain": 0.6}
    assert found.probabilities["stain"] == pytest.approx({"pale": 0.6, "normal": 0.2, "dark": 0.2})
    settled = answers_from_findings(smear, [finding("stain", "pale", probability=0.8)], min_probability=0.8)
    assert settled.answers == {"stain": "pale"}  # the least that settles it


@pytest.mark.parametrize(
    ("concept", "value", "fields", "rule"),
    [
        ("stain", "blue", {}, "stain has no value 'blue'"),
        ("stain", None, {"status": "present"}, "a finding of stain needs a category"),
        ("red_cell_cover", 42.0, {"unit": "%"}, "unit is '%', the bands are in '1'"),
        ("platelet_count", "many", {}, "value is 'many', expected a finite number"),
        ("leukocyte", "absent", {"status": "absent"}, "status 'absent' and value 'absent' deny each other"),
    ],
)
def test_findings_that_do_not_fit_the_logic_are_refused_by_name(smear, finding, concept, value, fields, rule):
    with pytest.raises(DataError, match=rule) as error:
        answers_from_findings(smear, [finding(concept, value, **fields)])
    assert error.value.record == f"f-{concept}"


def test_min_probability_must_be_able_to_choose(smear):
    for wrong in (0.5, 0.0, 1.1):
        with pytest.raises(ValueError, match="above 0.5"):
            answers_from_findings(smear, [], min_probability=wrong)
