import pytest

from vlmalign.clinical import answers_from_findings, derive, is_consistent, load_logic, parse_answer, parse_text
from vlmalign.records import Finding, ImageRef


@pytest.fixture(scope="module")
def slide():
    return load_logic("peripheral_smear_slide")


def seen(concept, value, field=0):
    image = ImageRef(path=f"images/{field}.png", sha256=f"{field:064x}")
    status = "present" if value else "absent"
    return Finding(
        id=f"{concept}-{field}", image=image, concept=concept, value=value, expert="cells@1", status=status
    )


def counts(numbers, **known):
    categories = {"area": "suitable", "clumps": "absent"} | known
    findings = [seen("platelet_count", float(n), field) for field, n in enumerate(numbers)]
    findings.append(seen("field_count", float(len(numbers))))
    for concept, value in categories.items():
        present = concept != "clumps" or value == "present"
        image = ImageRef(path="images/0.png", sha256="0" * 64)
        findings.append(
            Finding(
                id=concept, image=image, concept=concept, expert="reader@1",
                status="present" if present else "absent", value=value if concept != "clumps" else None,
            )
        )  # fmt: skip
    return findings


def test_low_platelets_need_ten_fields(slide):
    nine = answers_from_findings(slide, counts([3] * 9))
    assert nine.not_assessed == {
        "platelet_estimate": "cells@1 gives platelet_count of 9 images, and 10 are needed"
    }
    assert nine.answers["fields"] == "fewer" and "platelet_estimate" not in nine.answers
    ten = answers_from_findings(slide, counts([3] * 10))
    assert ten.answers["platelet_estimate"] == "low" and ten.answers["advice"] == "confirm"


@pytest.mark.parametrize("sentence", ["Platelets are low.", "There is thrombocytopenia.", "Adequate platelets."])
def test_one_field_supports_no_estimate_of_platelets(slide, sentence):
    field = parse_text(load_logic("peripheral_smear"), sentence)
    assert not field.answers and [u.kind for u in field.unsupported] == ["estimate"]
    assert "platelet_estimate" in parse_text(slide, sentence).answers


def test_the_factor_of_the_laboratory_decides_what_is_low():
    findings = counts([8, 9] * 5)  # mean 8.5: 127,500 by a factor of 15,000, 170,000 by 20,000
    by_factor = {
        factor: answers_from_findings(load_logic(f"peripheral_smear_slide@factor_{factor}"), findings).answers
        for factor in (15000, 20000)
    }
    assert by_factor[15000]["platelet_estimate"] == "low"
    assert by_factor[20000]["platelet_estimate"] == "adequate"


@pytest.mark.parametrize("known", [{"clumps": "present"}, {"area": "unsuitable"}])
def test_clumps_and_thick_areas_forbid_an_estimate(slide, known):
    found = answers_from_findings(slide, counts([3] * 12, **known))
    assert "platelet_estimate" in found.not_assessed and "platelet_estimate" not in found.answers


@pytest.mark.parametrize(
    ("observed", "advice"),
    [
        ({"clumps": "present"}, "recollect"),
        ({"clumps": "absent", "platelet_estimate": "not_estimated"}, "read_more"),
        ({"clumps": "absent", "platelet_estimate": "low"}, "confirm"),
        ({"clumps": "absent", "platelet_estimate": "high"}, "confirm"),
        ({"clumps": "absent", "platelet_estimate": "adequate"}, "none"),
    ],
)
def test_advice_worked_by_hand(slide, observed, advice):
    assert derive(slide, observed)["advice"] == advice


@pytest.mark.parametrize(
    ("answers", "consistent"),
    [
        ({"fields": "fewer", "platelet_estimate": "low"}, False),
        ({"area": "unsuitable", "platelet_estimate": "adequate"}, False),
        ({"clumps": "present", "platelet_estimate": "low"}, False),
        ({"clumps": "present", "advice": "confirm"}, False),
        (
            {
                "fields": "ten_or_more",
                "area": "suitable",
                "clumps": "absent",
                "platelet_estimate": "not_estimated",
            },
            False,
        ),
        ({"fields": "ten_or_more", "platelet_estimate": "low", "advice": "confirm"}, True),
        ({"fields": "fewer", "platelet_estimate": "not_estimated", "advice": "read_more"}, True),
    ],
)
def test_estimates_without_their_ground_are_inconsistent(slide, answers, consistent):
    assert is_consistent(slide, answers) is consistent


def test_one_field_speaks_of_itself_alone(smear):
    assert parse_text(smear, "No platelets in this field.").answers == {"platelets": "none"}
    assert parse_answer(smear, "platelets", "None in this field.") == "none"
    assert parse_text(smear, "Platelets: none in this field.").answers == {"platelets": "none"}
    assert parse_text(smear, "There is thrombocytopenia.").answers == {}
    assert "platelet_estimate" not in smear.concepts


SENTENCES = [
    ("Ten fields were read in the monolayer.", {"fields": "ten_or_more", "area": "suitable"}),
    ("Only four fields were read.", {"fields": "fewer"}),
    ("No platelet clumps are seen.", {"clumps": "absent"}),
    ("Platelets are clumped at the feathered edge.", {"clumps": "present", "area": "unsuitable"}),
    ("Platelet satellitism is present.", {"clumps": "present"}),
    ("Platelet clumping cannot be excluded.", {"clumps": "uncertain"}),
    ("Possible clumps.", {"clumps": "uncertain"}),
    ("There is thrombocytopenia.", {"platelet_estimate": "low"}),
    ("No thrombocytopenia.", {}),  # adequate or high
    ("Thrombocytosis cannot be excluded.", {"platelet_estimate": "uncertain"}),
    ("Platelets appear adequate in number.", {"platelet_estimate": "adequate"}),
    ("Platelets are markedly reduced.", {"platelet_estimate": "low"}),
    ("The platelets are not reduced.", {"platelet_estimate": "adequate"}),
    ("On average 4.2 platelets per field were counted.", {"platelet_estimate": "low"}),
    ("The mean is 18 thrombocytes per field.", {"platelet_estimate": "adequate"}),
    ("No estimate is possible because of clumping.", {"platelet_estimate": "not_estimated", "clumps": "present"}),
    ("The estimate could not be judged.", {"platelet_estimate": "not_assessed"}),
    ("An automated count is recommended.", {"advice": "confirm"}),
    ("Repeat the sample in citrate.", {"advice": "recollect"}),
    ("No further action is needed.", {"advice": "none"}),
    ("The red cells overlap, so the area is too thick.", {"area": "unsuitable"}),
    ("The platelet count is 45,000 per microlitre.", {}),
]


@pytest.mark.parametrize(("text", "answers"), SENTENCES)
def test_sentences_of_readers_are_read(slide, text, answers):
    assert parse_text(slide, text).answers == answers
