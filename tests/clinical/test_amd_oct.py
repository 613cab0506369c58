import pytest

from vlmalign.clinical import answers_from_findings, derive, is_consistent, load_logic, parse_text
from vlmalign.records import Finding, ImageRef

PRESENCE = (
    "hyperreflective_foci", "double_layer_sign", "shrm", "fibrosis", "subretinal_fluid", "intraretinal_fluid",
    "pseudocysts", "outer_retinal_tubulation", "traction",
)  # fmt: skip
HEALTHY = {
    "eye": "right", "quality": "good", "drusen": "none", "rpe_irregularity": "none", "ped": "none",
    "hypertransmission": "none", "outer_retina": "preserved", **dict.fromkeys(PRESENCE, "absent"),
}  # fmt: skip


def scan(**signs):
    """A healthy scan with some signs; `shrm=1` for present."""
    assert set(signs) <= set(HEALTHY)
    return {**HEALTHY, **{name: "present" if value == 1 else value for name, value in signs.items()}}


ATROPHY = {"hypertransmission": "large", "outer_retina": "thinned"}
DOUBLE = {"double_layer_sign": 1, "rpe_irregularity": "small"}
STAGES = [  # signs; then stage and referral under beckman, retinavlm_train and retinavlm_test
    ({}, "healthy none", "healthy none", "healthy none"),
    ({"drusen": "small"}, "healthy none", "early none", "early routine"),
    ({"drusen": "medium"}, "early none", "early none", "early routine"),
    ({"drusen": "large"}, "intermediate routine", "intermediate none", "intermediate routine"),
    ({"hyperreflective_foci": 1}, "intermediate routine", "healthy none", "healthy none"),
    ({"rpe_irregularity": "small"}, "healthy none", "healthy none", "healthy none"),
    ({"rpe_irregularity": "large"}, "healthy none", "intermediate none", "intermediate routine"),
    ({"ped": "serous"}, "intermediate routine", "intermediate none", "intermediate routine"),
    ({"ped": "drusenoid"}, "intermediate routine", "intermediate none", "intermediate routine"),
    ({"hypertransmission": "small"}, "intermediate routine", "intermediate none", "intermediate routine"),
    ({"hypertransmission": "large"}, "intermediate routine", "late_dry routine", "late_dry routine"),
    ({"outer_retina": "thinned"}, "healthy none", "late_dry routine", "late_dry routine"),
    (ATROPHY, "late_dry routine", "late_dry routine", "late_dry routine"),
    ({"fibrosis": 1}, *["late_wet_inactive routine"] * 3),
    ({"shrm": 1, **ATROPHY}, *["late_wet_inactive routine"] * 3),
    ({"ped": "fibrovascular"}, *["late_wet_inactive routine"] * 3),
    (DOUBLE, "late_wet_inactive routine", "healthy none", "healthy none"),
    ({"shrm": 1, "subretinal_fluid": 1}, *["late_wet_active urgent"] * 3),
    ({"ped": "fibrovascular", "intraretinal_fluid": 1}, *["late_wet_active urgent"] * 3),
    ({**DOUBLE, "subretinal_fluid": 1}, *["late_wet_active urgent"] * 3),
    ({**ATROPHY, "shrm": 1, "intraretinal_fluid": 1}, *["late_wet_active urgent"] * 3),
    # fluid alone: active for RetinaVLM, not without a sign of neovascularisation otherwise
    ({"subretinal_fluid": 1}, "undetermined urgent", "late_wet_active urgent", "late_wet_active urgent"),
    ({"drusen": "large", "intraretinal_fluid": 1}, "undetermined urgent", *["late_wet_active urgent"] * 2),
    # fluid by traction: a general specialist in training, two weeks in the test
    (
        {"intraretinal_fluid": 1, "traction": 1},
        "undetermined routine",
        "late_wet_active routine",
        "late_wet_active urgent",
    ),
    ({"intraretinal_fluid": 1, "traction": 1, "shrm": 1}, "undetermined urgent", *["late_wet_active urgent"] * 2),
    ({"subretinal_fluid": 1, "traction": 1, "shrm": 1}, *["late_wet_active urgent"] * 3),
    ({"traction": 1}, *["healthy none"] * 3),
    # degenerative, and no fluid
    ({"pseudocysts": 1}, "healthy none", "late_wet_active urgent", "late_wet_active urgent"),
    ({"pseudocysts": 1, **ATROPHY}, "late_dry routine", "late_wet_active urgent", "late_wet_active urgent"),
    ({"outer_retinal_tubulation": 1}, *["healthy none"] * 3),
]


@pytest.mark.parametrize("policy", ["beckman", "retinavlm_train", "retinavlm_test"])
def test_stages_and_referrals_worked_by_hand(policy):
    logic = load_logic(f"amd_oct@{policy}")
    column = ("beckman", "retinavlm_train", "retinavlm_test").index(policy) + 1
    for row in STAGES:
        answers = derive(logic, scan(**row[0]))
        assert f"{answers['stage']} {answers['referral']}" == row[column], (policy, row[0])
        assert is_consistent(logic, answers)
    given = {row[column].split()[0] for row in STAGES}
    assert given == {*logic.concepts["stage"].values} - {*logic.policies[policy].never.get("stage", ())}


def test_the_default_is_beckman_and_policies_agree_on_what_is_seen(amd):
    assert amd.policy == "beckman"
    for row in STAGES:
        for other in ("retinavlm_train", "retinavlm_test"):
            logic = load_logic(f"amd_oct@{other}")
            assert derive(logic, scan(**row[0]))["fluid"] == derive(amd, scan(**row[0]))["fluid"]


def test_atrophy_and_neovascular_disease_are_two_variables(amd):
    both = derive(amd, scan(shrm=1, **ATROPHY))
    assert (both["atrophy"], both["neovascularisation"]) == ("complete", "inactive")


@pytest.fixture(scope="module")
def amd():
    return load_logic("amd_oct")


@pytest.mark.parametrize(
    "answers",
    [
        {"stage": "healthy", "drusen": "large"},
        {"stage": "early", "drusen": "small"},
        {"stage": "early", "referral": "urgent"},
        {"stage": "late_dry", "outer_retina": "preserved"},
        {"stage": "late_dry", "neovascularisation": "inactive"},
        {"stage": "late_wet_active", "fluid": "absent"},
        {"stage": "late_wet_active", "referral": "routine"},
        {"stage": "late_wet_inactive", "subretinal_fluid": "present"},
        {"fluid": "absent", "intraretinal_fluid": "present"},
        {"fluid": "present", "subretinal_fluid": "absent", "intraretinal_fluid": "absent"},
        {"atrophy": "complete", "hypertransmission": "small"},
        {"double_layer_sign": "present", "rpe_irregularity": "none"},
        {"neovascularisation": "absent", "shrm": "present"},
        scan(subretinal_fluid=1) | {"neovascularisation": "active"},
    ],
)
def test_claims_that_cannot_be_true_together_are_inconsistent(amd, answers):
    assert not is_consistent(amd, answers)


def test_part_of_the_findings_derives_only_what_it_settles(amd):
    assert derive(amd, {"shrm": "present", "subretinal_fluid": "present"})["referral"] == "urgent"
    assert "stage" not in derive(amd, {"drusen": "large"})  # neovascular disease may still be there
    assert "neovascularisation" not in derive(amd, {"subretinal_fluid": "present"})


@pytest.mark.parametrize(
    ("size", "value"),
    [(0, "none"), (40, "small"), (62.9, "small"), (63, "medium"), (125, "medium"), (126, "large"), (400, "large")],
)
def test_drusen_are_sized_in_micrometres(amd, size, value):
    image = ImageRef(path="images/x.png", sha256="0" * 64)
    size_finding = Finding(
        id="f", image=image, concept="drusen_size", status="present", value=size, unit="um", expert="oct@1"
    )
    assert answers_from_findings(amd, [size_finding]).answers["drusen"] == value


SENTENCES = [
    ("There is no evidence of intraretinal fluid.", {"intraretinal_fluid": "absent"}),
    ("Intraretinal fluid cannot be excluded.", {"intraretinal_fluid": "uncertain"}),
    ("We cannot exclude subretinal fluid.", {"subretinal_fluid": "uncertain"}),
    ("No subretinal or intraretinal fluid.", {"subretinal_fluid": "absent", "intraretinal_fluid": "absent"}),
    ("Neither SRF nor IRF is seen.", {"subretinal_fluid": "absent", "intraretinal_fluid": "absent"}),
    (
        "The macula is dry, without SRF or IRF.",
        {"fluid": "absent", "subretinal_fluid": "absent", "intraretinal_fluid": "absent"},
    ),
    (
        "Subretinal fluid is present but there is no intraretinal fluid.",
        {"subretinal_fluid": "present", "intraretinal_fluid": "absent"},
    ),
    ("SRF: present. IRF: absent.", {"subretinal_fluid": "present", "intraretinal_fluid": "absent"}),
    ("Trace IRF.", {"intraretinal_fluid": "present"}),
    ("Large soft drusen, the largest measuring 180 \u00b5m.", {"drusen": "large"}),
    ("Drusen measuring 90 um are seen.", {"drusen": "medium"}),
    ("Drusen of 125 um.", {"drusen": "medium"}),
    ("Multiple small drusen, all less than 63 um.", {"drusen": "small"}),
    ("No drusen, no fluid, no atrophy.", {"drusen": "none", "fluid": "absent", "atrophy": "none"}),
    ("Hyperreflective foci overlie the drusen.", {"hyperreflective_foci": "present"}),
    (
        "A fibrovascular PED with overlying SHRM and subretinal fluid is noted.",
        {"ped": "fibrovascular", "shrm": "present", "subretinal_fluid": "present"},
    ),
    ("A serous PED cannot be excluded.", {"ped": "uncertain"}),
    ("Possible double layer sign.", {"double_layer_sign": "uncertain"}),
    ("Subretinal hyperreflective material is likely.", {"shrm": "uncertain"}),
    (
        "Choroidal hypertransmission of 400 \u00b5m with loss of the ellipsoid zone, consistent with cRORA.",
        {"hypertransmission": "large", "outer_retina": "thinned", "atrophy": "complete"},
    ),
    (
        "The photoreceptor layer is preserved and there is no hypertransmission.",
        {"outer_retina": "preserved", "hypertransmission": "none"},
    ),
    ("The ellipsoid zone is disrupted.", {"outer_retina": "thinned"}),
    (
        "Vitreomacular traction with intraretinal cystoid fluid.",
        {"traction": "present", "intraretinal_fluid": "present"},
    ),
    ("Degenerative pseudocysts without fluid.", {"pseudocysts": "present", "fluid": "absent"}),
    ("Disciform scar without fluid.", {"fibrosis": "present", "fluid": "absent"}),
    ("Left eye, good quality scan.", {"eye": "left", "quality": "good"}),
    ("Right eye: large drusen, no SRF.", {"eye": "right", "drusen": "large", "subretinal_fluid": "absent"}),
    ("Active CNV is suspected.", {"neovascularisation": "uncertain"}),
    ("The CNV is not active.", {"neovascularisation": "inactive"}),
    ("No geographic atrophy.", {"atrophy": "none"}),
    (
        "Findings are consistent with active wet AMD; urgent referral for anti-VEGF treatment.",
        {"stage": "late_wet_active", "referral": "urgent"},
    ),
    ("Inactive neovascular AMD, routine follow-up.", {"stage": "late_wet_inactive", "referral": "routine"}),
    ("No signs of AMD.", {"stage": "healthy"}),
    ("There is no late AMD.", {}),  # it may be early
    ("Not wet AMD.", {}),
    (
        "The scan quality is poor, and intraretinal fluid could not be assessed.",
        {"quality": "poor", "intraretinal_fluid": "not_assessed"},
    ),
]


@pytest.mark.parametrize(("text", "answers"), SENTENCES)
def test_sentences_of_clinicians_are_read(amd, text, answers):
    assert parse_text(amd, text).answers == answers


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The subretinal fluid has decreased since the last visit.", "comparison"),
        ("The patient received an injection.", "history"),
        ("Visual acuity is 65 letters.", "vision"),
        ("There is leakage on angiography.", "other_imaging"),
    ],
)
def test_what_one_scan_cannot_show_is_named(amd, text, kind):
    assert kind in [statement.kind for statement in parse_text(amd, text).unsupported]
