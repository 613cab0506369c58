import pytest

from vlmalign.clinical import answers_from_findings, derive, is_consistent, load_logic, parse_text
from vlmalign.clinical.paths import forced_values, valid_paths
from vlmalign.records import Finding, ImageRef

OF_PATH = ("quality", "content", "abnormality", "proliferation", "diagnosis")
NORMAL = ("usable", "adequate", "normal", "none", "normal")
AML = ("usable", "adequate", "abnormal", "blasts", "aml")
PLASMA = ("usable", "adequate", "abnormal", "plasma_cells", "plasma_cell_neoplasm")
BLOOD = ("unusable", "blood", "inadequate", "inadequate", "inadequate")
CLOT = ("unusable", "clot", "inadequate", "inadequate", "inadequate")
EXCESS = ("usable", "adequate", "abnormal", "blasts", "excess_blasts")


@pytest.fixture(scope="module")
def who():
    return load_logic("bone_marrow")


@pytest.fixture(scope="module")
def dr_llava():
    return load_logic("bone_marrow@dr_llava")


def five(path):
    return tuple(path[name] for name in OF_PATH)


def test_dr_llava_has_exactly_its_five_paths(dr_llava):
    assert sorted(map(five, valid_paths(dr_llava))) == sorted([NORMAL, AML, PLASMA, BLOOD, CLOT])


def test_who_adds_the_path_of_increased_blasts_below_twenty_percent(who):
    assert who.policy == "who"
    assert sorted(map(five, valid_paths(who))) == sorted([NORMAL, EXCESS, AML, PLASMA, BLOOD, CLOT])


@pytest.mark.parametrize("policy", ["who", "dr_llava"])
@pytest.mark.parametrize(
    ("observed", "path"),
    [
        ({"content": "adequate", "blasts": "normal", "plasma_cells": "normal"}, NORMAL),
        ({"content": "adequate", "blasts": "twenty_or_more", "plasma_cells": "normal"}, AML),
        ({"content": "adequate", "blasts": "normal", "plasma_cells": "ten_or_more"}, PLASMA),
        ({"content": "blood"}, BLOOD),
        ({"content": "clot"}, CLOT),
    ],
)
def test_paths_worked_by_hand(policy, observed, path):
    logic = load_logic(f"bone_marrow@{policy}")
    assert five(derive(logic, observed)) == path
    if path[0] == "unusable":
        assert forced_values(logic, observed)["blasts"] == "inadequate"


@pytest.mark.parametrize(
    "answers",
    [
        {"quality": "unusable", "diagnosis": "aml"},
        {"quality": "usable", "content": "clot"},
        {"content": "blood", "abnormality": "normal"},
        {"content": "adequate", "diagnosis": "inadequate"},
        {"abnormality": "normal", "proliferation": "blasts"},
        {"proliferation": "blasts", "diagnosis": "plasma_cell_neoplasm"},
        {"proliferation": "none", "diagnosis": "aml"},
        {"blasts": "normal", "diagnosis": "aml"},
        {"blasts": "twenty_or_more", "plasma_cells": "ten_or_more"},
        {"content": "clot", "blasts": "normal"},
    ],
)
def test_tuples_outside_the_paths_are_inconsistent(who, dr_llava, answers):
    assert not is_consistent(who, answers) and not is_consistent(dr_llava, answers)


def test_thresholds_are_reached_at_equality_by_who_and_must_be_exceeded_in_dr_llava(who, dr_llava):
    def bands(logic, blasts, plasma):
        return (
            logic.concepts["blasts"].measurement.band(blasts),
            logic.concepts["plasma_cells"].measurement.band(plasma),
        )

    assert bands(who, 100 / 500, 50 / 500) == ("twenty_or_more", "ten_or_more")
    assert bands(dr_llava, 100 / 500, 50 / 500) == ("normal", "normal")
    assert bands(dr_llava, 101 / 500, 51 / 500) == ("twenty_or_more", "ten_or_more")
    assert bands(who, 24 / 500, 49 / 500) == ("normal", "normal")
    assert bands(who, 25 / 500, 0)[0] == "increased" and bands(dr_llava, 25 / 500, 0)[0] == "normal"


def count(concept, value, **fields):
    image = ImageRef(path="images/x.png", sha256="0" * 64)
    return Finding(
        id=f"f-{concept}", image=image, concept=concept, value=value, expert="cells@1", status="present", **fields
    )


def counted(blasts, plasma, total, content="adequate"):
    return [
        count("content", content),
        count("blast_count", float(blasts)),
        count("plasma_cell_count", float(plasma)),
        count("nucleated_cell_count", float(total)),
    ]


def test_counts_become_a_diagnosis_with_their_intervals(who):
    found = answers_from_findings(who, counted(210, 5, 500))
    assert five(found.answers) == AML
    # p = 0.42, n = 500, z^2 = 3.84146: (0.42 + 0.00384146 -+ 1.95996 sqrt(0.0004872 + 0.00000384)) / 1.00768292
    assert found.shares["blasts"].wilson() == pytest.approx((0.37752, 0.46370), abs=1e-4)
    assert five(answers_from_findings(who, counted(5, 120, 500)).answers) == PLASMA
    assert five(answers_from_findings(who, counted(60, 5, 500)).answers) == EXCESS


def test_few_cells_leave_the_share_and_the_diagnosis_open(who):
    found = answers_from_findings(who, counted(6, 0, 25))  # 24 %, but of 25 cells
    assert 0.6 < found.uncertain["blasts"] < 0.8
    assert "diagnosis" not in found.answers and found.answers["plasma_cells"] == "normal"


def test_counts_in_blood_or_clot_are_not_assessed(who):
    found = answers_from_findings(who, counted(210, 5, 500, content="clot"))
    assert set(found.not_assessed) == {"blasts", "plasma_cells"} and not found.shares
    assert five(found.answers) == CLOT


SENTENCES = [
    ("The aspirate is cellular with adequate marrow particles.", {"content": "adequate"}),
    ("The specimen is clotted and cannot be evaluated.", {"content": "clot"}),
    ("This is haemodilute; only peripheral blood is seen.", {"content": "blood"}),
    ("The quality is poor.", {"quality": "unusable"}),
    ("The field cannot be interpreted.", {"quality": "unusable"}),
    ("Blasts account for 42% of nucleated cells.", {"blasts": "twenty_or_more"}),
    ("There are 25 % myeloblasts.", {"blasts": "twenty_or_more"}),
    ("Blasts make up 20 % or more of the cells.", {"blasts": "twenty_or_more"}),
    ("Blasts are between 5 and 19 %.", {"blasts": "increased"}),
    ("Blasts of 5-19 % are seen.", {"blasts": "increased"}),
    ("Blasts are below 5 %.", {"blasts": "normal"}),
    ("No increase in blasts is seen.", {"blasts": "normal"}),
    ("12 blasts are seen.", {}),  # a count is no share
    ("Blasts are not increased and plasma cells are rare.", {"blasts": "normal", "plasma_cells": "normal"}),
    ("Blasts and plasma cells are not increased.", {"blasts": "normal", "plasma_cells": "normal"}),
    ("Neither blasts nor plasma cells are increased.", {"blasts": "normal", "plasma_cells": "normal"}),
    ("The marrow shows 3 % plasma cells and 2 % blasts.", {"blasts": "normal", "plasma_cells": "normal"}),
    ("Blasts 30%, plasma cells 2%.", {"blasts": "twenty_or_more", "plasma_cells": "normal"}),
    ("Plasma cells are increased (about 30 %).", {"plasma_cells": "ten_or_more"}),
    ("There is no plasmacytosis.", {"plasma_cells": "normal"}),
    ("Plasma cells are probably increased.", {"plasma_cells": "uncertain"}),
    ("The blast percentage could not be determined.", {"blasts": "not_assessed"}),
    (
        "Plasma cells comprise 18% of all nucleated cells, consistent with plasma cell neoplasm.",
        {"plasma_cells": "ten_or_more", "diagnosis": "plasma_cell_neoplasm"},
    ),
    ("Myeloblasts are markedly increased, in keeping with AML.", {"blasts": "twenty_or_more", "diagnosis": "aml"}),
    ("Acute myeloid leukemia cannot be excluded.", {"diagnosis": "uncertain"}),
    ("The findings are suspicious for multiple myeloma.", {"diagnosis": "uncertain"}),
    ("Myeloma is suspected.", {"diagnosis": "uncertain"}),
    ("There is no evidence of acute leukaemia.", {}),  # which leaves the other diagnoses open
    ("This is not AML but multiple myeloma.", {"diagnosis": "plasma_cell_neoplasm"}),
    ("There is no evidence of malignancy.", {"diagnosis": "normal"}),
    ("The marrow is unremarkable with normal haematopoiesis.", {"abnormality": "normal", "diagnosis": "normal"}),
    ("Non-diagnostic aspirate due to clot.", {"diagnosis": "inadequate", "content": "clot"}),
    ("Red blood cells are seen.", {}),
    ("No abnormal population is present.", {"proliferation": "none"}),
]


@pytest.mark.parametrize(("text", "answers"), SENTENCES)
def test_sentences_of_clinicians_are_read(who, text, answers):
    assert parse_text(who, text).answers == answers


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("A share of 40 % is diagnostic of acute myeloid leukaemia.", "final_diagnosis"),
        ("This confirms multiple myeloma.", "final_diagnosis"),
        ("The plasma cells are clonal.", "other_tests"),
        ("Blasts have fallen since the last aspirate.", "comparison"),
        ("The patient received chemotherapy.", "history"),
    ],
)
def test_what_a_picture_cannot_show_is_named(who, text, kind):
    assert kind in [statement.kind for statement in parse_text(who, text).unsupported]
