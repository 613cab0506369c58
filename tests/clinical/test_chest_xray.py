"""The chest film: CheXpert's tree worked by hand, flips, wording, and the ratio that few films allow."""

from __future__ import annotations

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
from vlmalign.clinical.paths import forced_values, valid_paths

LABELS = (
    "no_finding", "enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion", "edema",
    "consolidation", "pneumonia", "atelectasis", "pneumothorax", "pleural_effusion", "pleural_other", "fracture",
    "support_devices",
)  # fmt: skip
ADULT_PA = {
    "age_group": "adult", "projection": "pa", "position": "erect", "inspiration": "adequate",
    "rotation": "straight",
}  # fmt: skip
SICK = {
    **ADULT_PA, "enlarged_cardiomediastinum": "present", "mediastinum": "normal", "cardiomegaly": "present",
    "cardiomegaly_severity": "mild", "lung_opacity": "present", "opacity_side": "left", "lung_lesion": "absent",
    "edema": "absent", "consolidation": "present", "pneumonia": "present", "atelectasis": "absent",
    "pneumothorax": "absent", "pneumothorax_side": "not_applicable", "pneumothorax_size": "not_applicable",
    "pleural_effusion": "present", "effusion_side": "left", "effusion_size": "small", "pleural_other": "absent",
    "fracture": "absent", "support_devices": "present", "central_line": "present", "cardiac_device": "absent",
    "tube": "present", "tube_kind": "airway", "no_finding": "absent",
}  # fmt: skip
WELL = {
    **SICK, "enlarged_cardiomediastinum": "absent", "cardiomegaly": "absent",
    "cardiomegaly_severity": "not_applicable", "lung_opacity": "absent", "opacity_side": "not_applicable",
    "consolidation": "absent", "pneumonia": "absent", "pleural_effusion": "absent",
    "effusion_side": "not_applicable", "effusion_size": "not_applicable", "no_finding": "present",
}  # fmt: skip


@pytest.fixture(scope="module")
def xray():
    return load_logic("chest_xray")


@pytest.fixture(scope="module")
def flat():
    return load_logic("chest_xray@flat")


def test_the_fourteen_labels_are_there_and_every_concept_is_asked(xray):
    assert set(LABELS) <= set(xray.concepts)
    assert xray.name == "chest_xray@chexpert_hierarchy"
    for name in LABELS:
        assert list(xray.concepts[name].values) == ["present", "absent"]
    assert set(xray.order) == set(SICK) == set(xray.concepts)
    aspects = {c.aspect for c in xray.concepts.values()}
    assert aspects == {"finding", "quality", "laterality", "severity", "kind"}
    assert is_consistent(xray, SICK) and is_consistent(xray, WELL)


TREE = [  # child, parent
    ("pneumonia", "consolidation"),
    ("pneumonia", "lung_opacity"),
    ("consolidation", "lung_opacity"),
    ("edema", "lung_opacity"),
    ("lung_lesion", "lung_opacity"),
    ("atelectasis", "lung_opacity"),
    ("cardiomegaly", "enlarged_cardiomediastinum"),
    ("central_line", "support_devices"),
    ("cardiac_device", "support_devices"),
    ("tube", "support_devices"),
]


@pytest.mark.parametrize(("child", "parent"), TREE)
def test_the_truth_table_of_a_child_and_its_parent_lacks_one_row(xray, child, parent):
    rows = {
        (c, p): is_consistent(xray, {child: c, parent: p})
        for c, p in itertools.product(("present", "absent"), repeat=2)
    }
    assert [row for row, possible in rows.items() if not possible] == [("present", "absent")]


@pytest.mark.parametrize(("child", "parent"), TREE)
def test_a_flipped_finding_propagates_to_its_parent_and_its_children(xray, child, parent):
    assert forced_values(xray, {child: "present"})[parent] == "present"
    assert forced_values(xray, {parent: "absent"})[child] == "absent"
    assert parent not in forced_values(xray, {child: "absent"})
    assert child not in forced_values(xray, {parent: "present"})


def test_unrelated_findings_do_not_force_each_other(xray):
    findings = [name for name in LABELS if name not in ("no_finding", "support_devices")]
    related = {frozenset(pair) for pair in TREE}
    for one, other in itertools.permutations(findings, 2):
        if frozenset((one, other)) not in related:
            assert other not in forced_values(xray, {one: "present"}, (other,)), (one, other)
            assert other not in forced_values(xray, {one: "absent"}, (other,)), (one, other)


def test_the_cardiomediastinum_is_heart_and_mediastinum(xray):
    for heart, width in itertools.product(("present", "absent"), ("normal", "widened")):
        given = {"cardiomegaly": heart, "mediastinum": width}
        both = "present" if heart == "present" or width == "widened" else "absent"
        assert forced_values(xray, given)["enlarged_cardiomediastinum"] == both
    only = forced_values(xray, {"enlarged_cardiomediastinum": "present", "cardiomegaly": "absent"})
    assert only["mediastinum"] == "widened"


def test_the_flat_policy_lets_labels_stand_alone_but_keeps_sides_and_devices(xray, flat):
    odd = {"pneumonia": "present", "consolidation": "absent", "lung_opacity": "absent"}
    assert not is_consistent(xray, odd) and is_consistent(flat, odd)
    assert not is_consistent(flat, {"pleural_effusion": "absent", "effusion_side": "left"})
    assert not is_consistent(flat, {"tube": "present", "support_devices": "absent"})
    assert not is_consistent(flat, {"pneumonia": "present", "no_finding": "present"})
    assert xray.fingerprint != flat.fingerprint


@pytest.mark.parametrize(
    ("finding", "quality", "values"),
    [
        ("cardiomegaly", "cardiomegaly_severity", ("mild", "moderate", "severe")),
        ("lung_opacity", "opacity_side", ("left", "right", "both")),
        ("pneumothorax", "pneumothorax_side", ("left", "right", "both")),
        ("pneumothorax", "pneumothorax_size", ("small", "moderate", "large")),
        ("pleural_effusion", "effusion_side", ("left", "right", "both")),
        ("pleural_effusion", "effusion_size", ("small", "moderate", "large")),
        ("tube", "tube_kind", ("airway", "gastric", "chest", "several")),
    ],
)
def test_a_quality_needs_its_finding_and_a_finding_its_quality(xray, finding, quality, values):
    assert set(xray.concepts[quality].values) == {*values, "not_applicable"}
    assert forced_values(xray, {finding: "absent"})[quality] == "not_applicable"
    for value in values:
        assert forced_values(xray, {quality: value})[finding] == "present"
    assert not is_consistent(xray, {finding: "present", quality: "not_applicable"})


def test_no_finding_excludes_every_label_but_devices(xray):
    forced = forced_values(xray, {"no_finding": "present"})
    for name in LABELS:
        if name not in ("no_finding", "support_devices"):
            assert forced[name] == "absent"
            assert derive(xray, {name: "present"})["no_finding"] == "absent"
    assert "support_devices" not in forced
    assert is_consistent(xray, {"no_finding": "present", "central_line": "present"})
    assert derive(xray, {k: v for k, v in WELL.items() if k != "no_finding"})["no_finding"] == "present"
    assert "no_finding" not in derive(xray, {"edema": "absent"})  # the rest is not known
    assert not is_consistent(xray, {**WELL, "no_finding": "absent"})  # something must have been found


def test_the_parser_recovers_every_bank_and_the_test_side_is_held_out(xray):
    for name, concept in xray.concepts.items():
        for value, wording in concept.values.items():
            assert len(wording.sentences.train) >= 3 and len(wording.sentences.test) >= 2
            assert not set(wording.sentences.train) & set(wording.sentences.test)
            for text in wording.sentences.all:
                assert parse_text(xray, text).answers == {name: value}, text
            for text in wording.answers.all if wording.answers else ():
                assert parse_answer(xray, name, text) == value, text


@pytest.mark.parametrize("path", [SICK, WELL])
def test_flipping_one_answer_flips_that_parse_alone(xray, path):
    before = render_report(xray, path, seed=3)
    assert parse_text(xray, before).answers == path
    for name in xray.order:
        for value in (v for v in xray.concepts[name].values if v != path[name]):
            text = render_report(xray, {**path, name: value}, seed=3)
            assert parse_text(xray, text).answers == {**path, name: value}
            assert not is_consistent(xray, parse_text(xray, text).answers) or is_consistent(
                xray, {**path, name: value}
            )


def test_conversations_in_three_orders_read_back_under_both_banks(xray):
    for seed, order in enumerate(("canonical", "impression_first", "shuffled")):
        for path, bank in itertools.product((SICK, WELL), ("train", "test")):
            turns = render_conversation(xray, path, seed=seed, order=order, bank=bank)
            parsed = parse_conversation(xray, turns)
            assert parsed.answers == path and not parsed.unrecognised
            if order == "impression_first":
                assert parsed.claims[0].concept == "no_finding"


ABSENT3 = {"consolidation": "absent", "pleural_effusion": "absent", "pneumothorax": "absent"}
SENTENCES = [
    # lists under one denial
    ("No focal consolidation, pleural effusion, or pneumothorax.", ABSENT3),
    ("There is no focal consolidation, pleural effusion or pneumothorax identified.", ABSENT3),
    ("No focal consolidation, visible pneumothorax or pleural effusion is seen.", ABSENT3),
    ("The left lung is well expanded without focal airspace consolidation, pleural effusion, or pneumothorax.",
     {**ABSENT3, "inspiration": "adequate"}),
    ("Lungs are clear of focal consolidation, pneumothorax, or pleural effusion.", ABSENT3),
    ("Negative for pneumothorax or pleural effusion.", {"pneumothorax": "absent", "pleural_effusion": "absent"}),
    ("No pneumothorax or large pleural effusion.", {"pneumothorax": "absent"}),  # a small one may be there
    ("No effusion, and a nodule is seen.", {"pleural_effusion": "absent", "lung_lesion": "present"}),
    ("No displaced rib fractures are identified.", {"fracture": "absent"}),
    # normal hearts and lungs
    ("The cardiac silhouette is normal in size.", {"cardiomegaly": "absent"}),
    ("Heart size is within normal limits.", {"cardiomegaly": "absent"}),
    ("Heart size and mediastinal contours are normal.", {"cardiomegaly": "absent", "mediastinum": "normal"}),
    ("The cardiomediastinal silhouette is unremarkable.", {"enlarged_cardiomediastinum": "absent"}),
    ("The lungs are clear bilaterally.", {"lung_opacity": "absent"}),
    ("Lungs are clear without effusion.", {"lung_opacity": "absent", "pleural_effusion": "absent"}),
    ("The left lung is clear.", {}),  # says nothing of the right one
    # findings with their qualities
    ("Heart size is mildly enlarged.", {"cardiomegaly": "present", "cardiomegaly_severity": "mild"}),
    ("Mild cardiomegaly.", {"cardiomegaly": "present", "cardiomegaly_severity": "mild"}),
    ("Bibasilar atelectasis.", {"atelectasis": "present"}),
    ("Small left pleural effusion.",
     {"pleural_effusion": "present", "effusion_side": "left", "effusion_size": "small"}),
    ("There are large bilateral pleural effusions.",
     {"pleural_effusion": "present", "effusion_side": "both", "effusion_size": "large"}),
    ("A tiny right apical pneumothorax is present.",
     {"pneumothorax": "present", "pneumothorax_side": "right", "pneumothorax_size": "small"}),
    ("Patchy opacity in the right lung base.", {"lung_opacity": "present", "opacity_side": "right"}),
    ("Left lower lobe atelectasis and small pleural effusion.",
     {"atelectasis": "present", "pleural_effusion": "present", "effusion_size": "small"}),
    ("The endotracheal tube is in good position.", {"tube_kind": "airway"}),
    ("Right PICC with its tip in the SVC.", {"central_line": "present"}),
    ("Low lung volumes with bibasilar atelectasis.", {"inspiration": "shallow", "atelectasis": "present"}),
    ("Healing right rib fracture.", {"fracture": "present"}),
    ("Biapical pleural thickening.", {"pleural_other": "present"}),
    ("AP portable supine film.", {"projection": "ap", "position": "supine"}),
    ("AP supine view, rotated to the left.", {"projection": "ap", "position": "supine", "rotation": "rotated"}),
    ("Increased AP diameter of the chest.", {}),
    ("Lungs: clear. Pleura: no effusion. Heart: enlarged.",
     {"lung_opacity": "absent", "pleural_effusion": "absent", "cardiomegaly": "present"}),
    ("Neither effusion nor pneumothorax is seen.", {"pleural_effusion": "absent", "pneumothorax": "absent"}),
    ("Moderate cardiomegaly and mild pulmonary edema.",
     {"cardiomegaly": "present", "cardiomegaly_severity": "moderate", "edema": "present"}),
    ("There is no pneumothorax; small left effusion.",
     {"pneumothorax": "absent", "pleural_effusion": "present", "effusion_side": "left", "effusion_size": "small"}),
    ("Effusion, likely pneumonia.", {"pleural_effusion": "present", "pneumonia": "uncertain"}),
    # doubt
    ("Pneumonia cannot be excluded.", {"pneumonia": "uncertain"}),
    ("Cannot exclude a small pneumothorax.", {"pneumothorax": "uncertain", "pneumothorax_size": "uncertain"}),
    ("A right basilar opacity may represent atelectasis.",
     {"lung_opacity": "present", "opacity_side": "right", "atelectasis": "uncertain"}),
    ("Possible small left pleural effusion.",
     {"pleural_effusion": "uncertain", "effusion_side": "uncertain", "effusion_size": "uncertain"}),
    ("Infiltrate versus atelectasis.", {"lung_opacity": "uncertain", "atelectasis": "uncertain"}),
    ("No opacity to suggest pneumonia.", {"lung_opacity": "absent", "pneumonia": "absent"}),
    ("Small pleural effusions are suspected.", {"pleural_effusion": "uncertain", "effusion_size": "uncertain"}),
    ("The pneumothorax is not assessed.", {"pneumothorax": "not_assessed"}),
    # the whole film
    ("No finding.", {"no_finding": "present"}),
    ("Impression: no abnormality.", {"no_finding": "present"}),
    ("Unremarkable study.", {"no_finding": "present"}),
    ("The radiograph is not normal.", {"no_finding": "absent"}),
    ("Bones:\nNo abnormality.", {}),  # of the bones
    ("No finding of pneumothorax.", {"pneumothorax": "absent"}),
    ("No other findings.", {}),
    ("No acute findings.", {}),  # an old fracture may be there
    ("Mild cardiomegaly. Otherwise normal chest.", {"cardiomegaly": "present", "cardiomegaly_severity": "mild"}),
    ("The chest is normal except for cardiomegaly.", {"cardiomegaly": "present"}),
    ("No findings?", {}),
    # words that are near and mean something else
    ("There is a small pericardial effusion.", {}),
    ("No evidence of congestive heart failure.", {}),
    ("Heart size within normal limits, mild aortic ectasia.", {"cardiomegaly": "absent"}),
    ("The right hemidiaphragm is elevated.", {}),
    ("The chest tube has been removed.", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "answers"), SENTENCES)
def test_sentences_of_reports_are_read_as_a_radiologist_means_them(xray, text, answers):
    assert parse_text(xray, text).answers == answers


def test_a_sentence_without_a_subject_is_about_the_concept_that_was_asked(xray):
    assert parse_answer(xray, "no_finding", "No findings.") == "present"
    assert parse_answer(xray, "pneumothorax", "No findings.") is None


@pytest.mark.parametrize(
    ("text", "kind", "answers"),
    [
        ("Unchanged small left effusion.", "comparison",
         {"pleural_effusion": "present", "effusion_side": "left", "effusion_size": "small"}),
        ("New consolidation since the prior study.", "comparison", {"consolidation": "present"}),
        ("No significant change in the pleural effusion.", "comparison", {"pleural_effusion": "present"}),
        ("Stable cardiomegaly.", "comparison", {"cardiomegaly": "present"}),
        ("Recommend follow-up CT.", "recommendation", {}),
        ("The opacity is due to tuberculosis.", "cause", {"lung_opacity": "present"}),
        ("The patient has a history of cough.", "history", {}),
    ],
)  # fmt: skip
def test_what_one_film_cannot_show_is_named_and_the_rest_still_claimed(xray, text, kind, answers):
    parsed = parse_text(xray, text)
    assert kind in {u.kind for u in parsed.unsupported}
    assert parsed.answers == answers


RATIO = "cardiothoracic_ratio"


def _film(finding, ratio, **answers):
    known = [finding(name, value) for name, value in answers.items()]
    return [*known, finding(RATIO, ratio, unit="1", std=0.01)]


def test_a_cardiothoracic_ratio_is_read_on_adult_erect_inspiratory_straight_pa_films(xray, finding):
    big = answers_from_findings(xray, _film(finding, 0.56, **ADULT_PA))
    assert big.answers["cardiomegaly"] == "present" and big.answers["no_finding"] == "absent"
    assert answers_from_findings(xray, _film(finding, 0.45, **ADULT_PA)).answers["cardiomegaly"] == "absent"
    measurement = xray.concepts["cardiomegaly"].measurement
    assert [measurement.band(x) for x in (0.49, 0.50, 0.51)] == ["absent", "absent", "present"]
    unsettled = answers_from_findings(xray, _film(finding, 0.505, **ADULT_PA))
    assert unsettled.uncertain["cardiomegaly"] == pytest.approx(0.691, abs=1e-3)  # Phi(0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("age_group", "child"),
        ("projection", "ap"),
        ("projection", "lateral"),
        ("position", "supine"),
        ("inspiration", "shallow"),
        ("rotation", "rotated"),
        ("age_group", None),
        ("projection", None),
    ],
)
def test_any_other_film_or_an_unknown_one_leaves_the_heart_not_assessed(xray, finding, name, value):
    film = {**ADULT_PA, name: value}
    found = answers_from_findings(xray, _film(finding, 0.62, **{k: v for k, v in film.items() if v}))
    assert "cardiomegaly" not in found.answers and "cardiomegaly" not in found.uncertain
    assert f"{name} is {value or 'not known'}" in found.not_assessed["cardiomegaly"]


def test_the_paediatric_ap_films_are_refused_their_ratio_and_keep_their_label(xray, finding):
    # what the source of the Kermany set knows of every picture
    film = [finding("age_group", "child"), finding("projection", "ap"), finding("pneumonia", status="present")]
    found = answers_from_findings(xray, [*film, finding(RATIO, 0.58)])
    assert "cardiomegaly" in found.not_assessed and "age_group is child" in found.not_assessed["cardiomegaly"]
    assert found.answers["pneumonia"] == "present" and found.answers["no_finding"] == "absent"


def test_a_said_ratio_is_a_claim_with_its_number(xray):
    (claim,) = parse_text(xray, "The cardiothoracic ratio is 0.57.").claims
    assert (claim.concept, claim.value, claim.number) == ("cardiomegaly", "present", 0.57)
    (claim,) = parse_text(xray, "Cardiothoracic ratio of 45 %.").claims
    assert (claim.value, claim.number) == ("absent", 0.45)


def test_thirty_concepts_are_searched_and_propagated_in_good_time(xray, in_good_time):
    with in_good_time(1.0):
        # a contradiction among the last concepts must not be met again for every answer to the first ones
        for given in ({}, {"support_devices": "absent"}, {"tube_kind": "airway"}, {"no_finding": "absent"}):
            forced_values(xray, given)
        assert sum(1 for _ in itertools.islice(valid_paths(xray, {"no_finding": "absent"}), 100)) == 100
