from copy import deepcopy

import pytest

from vlmalign.clinical import derive, is_consistent, load_logic, parse_text
from vlmalign.records import DataError

BANDS = [{"value": "sparse", "below": 0.1}, {"value": "moderate", "below": 0.5}, {"value": "crowded"}]
KIND = "a kind needs a leukocyte"


@pytest.fixture
def two_policies(smear_yaml):
    smear_yaml["policies"] = {
        "plain": {"source": "as it is"},
        "cells": {
            "source": "another laboratory",
            "concepts": {
                "impression": {
                    "derived": [
                        {"when": {"leukocyte": "present"}, "value": "leukocyte_field"},
                        {"when": {"platelets": "none"}, "value": "red_cell_field"},
                        {"value": "platelet_field"},
                    ]
                },
                "crowding": {"bands": deepcopy(BANDS)},
            },
            "without": [KIND],
            "constraints": [{"name": "sharp only", "require": {"focus": ["sharp", "blurred"]}}],
            "never": {"impression": ["thick_area"]},
        },
    }
    return smear_yaml


def test_a_policy_changes_rules_bands_and_constraints_and_no_other_policy(two_policies, write_logic):
    path = write_logic(two_policies)
    plain, cells = load_logic(f"{path}@plain"), load_logic(f"{path}@cells")
    answers = {"crowding": "crowded", "leukocyte": "present"}
    assert derive(plain, answers)["impression"] == "thick_area"
    assert derive(cells, answers)["impression"] == "leukocyte_field"
    assert not is_consistent(cells, {"impression": "thick_area"})
    assert plain.concepts["crowding"].measurement.band(0.45) == "crowded"
    assert cells.concepts["crowding"].measurement.band(0.45) == "moderate"
    odd = {"leukocyte": "absent", "leukocyte_kind": "segmented"}
    assert not is_consistent(plain, odd) and is_consistent(cells, odd)
    assert [c.name for c in cells.constraints] == ["sharp only"]


def test_the_first_policy_or_the_default_one_holds_where_none_is_named(two_policies, write_logic):
    path = write_logic(two_policies)
    assert load_logic(path) == load_logic(f"{path}@plain")
    assert load_logic(path).name == "peripheral_smear@plain"
    two_policies["default_policy"] = "cells"
    assert load_logic(write_logic(two_policies)).policy == "cells"
    assert load_logic("peripheral_smear").name == "peripheral_smear"


def test_policies_have_fingerprints_of_their_own_that_other_policies_do_not_move(two_policies, write_logic):
    path = write_logic(two_policies)
    plain, cells = load_logic(f"{path}@plain"), load_logic(f"{path}@cells")
    assert plain != cells
    assert len({plain.fingerprint, cells.fingerprint, load_logic("peripheral_smear").fingerprint}) == 3
    two_policies["policies"]["cells"]["concepts"]["crowding"]["bands"][0]["below"] = 0.11
    path = write_logic(two_policies)
    assert load_logic(f"{path}@plain").fingerprint == plain.fingerprint
    assert load_logic(f"{path}@cells").fingerprint != cells.fingerprint


def test_text_is_read_alike_under_every_policy(two_policies, write_logic):
    path = write_logic(two_policies)
    said = [parse_text(load_logic(f"{path}@{p}"), "A thick area.").answers for p in ("plain", "cells")]
    assert said == [{"impression": "thick_area"}] * 2


CELLS = "policies.cells"
BROKEN = [  # (place, what is put there, where the error is, rule)
    (f"{CELLS}.concepts.heart", {"bands": BANDS}, f"{CELLS}.concepts.heart", "unknown concept 'heart'"),
    (f"{CELLS}.concepts.stain", {"bands": BANDS}, f"{CELLS}.concepts.stain", "'stain' has no measurement"),
    (f"{CELLS}.concepts.stain", {"derived": [{"value": "pale"}]}, f"{CELLS}.concepts.stain", "is observed"),
    (f"{CELLS}.concepts.stain", {}, f"{CELLS}.concepts.stain", "an override changes nothing"),
    (f"{CELLS}.without", ["rule 7"], f"{CELLS}.without", "no constraint is named 'rule 7'"),
    (f"{CELLS}.never", {}, "concepts.impression.values.thick_area", "under policy 'cells', no valid path reaches"),
    (f"{CELLS}.never", {"impression": ["thick_area"], "stain": ["pale"]}, f"{CELLS}.never.stain", "a valid path"),
    (f"{CELLS}.never", {"stain": ["blue"]}, f"{CELLS}.never.stain", "unknown value 'blue'"),
    (f"{CELLS}.source", "", f"{CELLS}.source", "at least 1 character"),
    (
        f"{CELLS}.concepts.impression.derived.0.when",
        {"leukocyte": "many"},
        f"{CELLS}.concepts.impression.derived.0.when.leukocyte",
        "under policy 'cells', unknown value 'many'",
    ),
    (
        f"{CELLS}.concepts.crowding.bands.1.below",
        0.1,
        f"{CELLS}.concepts.crowding.bands",
        "under policy 'cells', bands end below",
    ),
    (
        f"{CELLS}.constraints.0.require",
        {"focus": "soft"},
        f"{CELLS}.constraints.0.require.focus",
        "unknown value 'soft'",
    ),
    ("default_policy", "mine", "default_policy", "unknown policy 'mine'"),
    ("policy", "cells", "policy", "a file does not choose its policy"),
]


@pytest.mark.parametrize(("place", "value", "field", "rule"), BROKEN)
def test_a_broken_policy_is_refused_at_its_place_whichever_is_loaded(
    two_policies, write_logic, place, value, field, rule
):
    *parents, last = place.split(".")
    data = two_policies
    for key in parents:
        data = data[int(key) if key.isdigit() else key]
    data[int(last) if last.isdigit() else last] = value
    path = write_logic(two_policies)
    with pytest.raises(DataError) as error:
        load_logic(f"{path}@plain")
    assert rule in error.value.rule and error.value.field == field
    assert error.value.file == str(path) and error.value.line and error.value.remedy


def test_unknown_policies_name_what_there_is(two_policies, write_logic):
    with pytest.raises(DataError, match=r"no policy is named 'mine'. Choose one of \['plain', 'cells'\]"):
        load_logic(f"{write_logic(two_policies)}@mine")
    with pytest.raises(DataError, match="no policy is named 'mine'. It has none"):
        load_logic("peripheral_smear@mine")
