import subprocess
import sys

import pytest

from vlmalign.clinical import list_logics, load_logic
from vlmalign.records import DataError


def test_shipped_logics_load_and_are_named_after_their_domain():
    assert "peripheral_smear" in list_logics()
    for name in list_logics():
        assert load_logic(name).domain == name


def test_a_logic_is_usable_by_path_and_equals_the_shipped_one(smear, smear_yaml, write_logic):
    path = write_logic(smear_yaml)
    assert load_logic(path) == load_logic(str(path)) == smear
    assert load_logic(path).fingerprint == smear.fingerprint
    assert hash(load_logic(path)) == hash(smear)


def test_smear_concepts_and_order_are_as_agreed(smear):
    assert {name: list(concept.values) for name, concept in smear.concepts.items()} == {
        "focus": ["sharp", "blurred"],
        "stain": ["normal", "pale", "dark"],
        "leukocyte": ["present", "absent"],
        "leukocyte_kind": ["segmented", "mononuclear", "not_applicable"],
        "crowding": ["sparse", "moderate", "crowded"],
        "platelets": ["none", "few", "many"],
        "impression": ["thick_area", "leukocyte_field", "red_cell_field", "platelet_field"],
    }
    assert smear.order == tuple(smear.concepts)
    assert set(smear.unsupported) == {"comparison", "history", "estimate"}
    assert smear.derived_concepts == ("impression",)


STAIN = "concepts.stain.values.pale"
RULES = "concepts.impression.derived"
BROKEN = [  # (place, what is put there, where the error is if not there, rule)
    ("concepts.stain.colour", "x", None, "unknown key"),
    ("schema_version", 7, None, "Input should be 1"),
    ("constraints.0.iff.0", {"heart": "big"}, "constraints.0.iff.0.heart", "unknown concept 'heart'"),
    ("constraints.0.iff.0", {"stain": "big"}, "constraints.0.iff.0.stain", "unknown value 'big'"),
    ("constraints.0.iff.0", {"any": []}, None, "'any' of a condition is empty"),
    ("constraints.0.iff.0", {"stain": []}, None, "'stain' of a condition is empty"),
    ("constraints.0", {"name": "half", "if": {"stain": "pale"}}, None, "exactly one of"),
    (f"{RULES}.0.when", {"hart": "x"}, f"{RULES}.0.when.hart", "unknown concept 'hart'"),
    (f"{RULES}.0.value", "x", None, "unknown value 'x'"),
    (f"{RULES}.3", {"when": {"stain": "pale"}, "value": "platelet_field"}, None, "the last"),
    # this second rule leaves nothing for the third
    (
        f"{RULES}.1",
        {"when": {"leukocyte": ["present", "absent"]}, "value": "leukocyte_field"},
        "concepts.impression.values.red_cell_field",
        "no valid path reaches",
    ),
    (f"{STAIN}.terms", ["heavy"], "concepts.stain.values.dark.terms", "'heavy' would be ambiguous"),
    (f"{STAIN}.phrases", ["sharp"], None, "'sharp' would be ambiguous"),
    (f"{STAIN}.phrases", ["absent"], None, "general English cues"),
    ("concepts.stain.mentions", ["focus"], None, "'focus' would be ambiguous"),
    ("concepts.leukocyte_kind.about", ["blood"], None, "unknown concept 'blood'"),
    ("concepts.crowding.measurement.bands.1.below", 0.1, "concepts.crowding.measurement.bands", "bands end below"),
    ("concepts.platelets.measurement.bands.1.below", 2.5, "concepts.platelets.measurement.bands", "a count has"),
    (f"{STAIN}.sentences.train", ["The stain is dark."], f"{STAIN}.sentences", "is read as stain = dark"),
    (f"{STAIN}.sentences.train", ["Lovely tint."], f"{STAIN}.sentences", "is read as nothing"),
    (f"{STAIN}.sentences.test", ["The stain of the field is pale!"], f"{STAIN}.sentences", "is in train and test"),
    ("unsupported.history.patterns", ["("], "unsupported.history.patterns.0", "not a regular expression"),
    ("unsupported.history.examples.train", ["A cell."], "unsupported.history.examples", "is read as nothing"),
    ("questions.1.concept", "focus", None, "asked twice"),
    ("questions.1.train", ["Is the field sharp?"], "questions.0", "also asks another concept"),
    ("concepts.platelets.numbers.forms", ["{n} dots"], "concepts.platelets.numbers", "is not read as"),
]


@pytest.mark.parametrize(("place", "value", "field", "rule"), BROKEN)
def test_broken_logic_is_refused_with_its_file_line_and_place(smear_yaml, write_logic, place, value, field, rule):
    *parents, last = place.split(".")
    data = smear_yaml
    for key in parents:
        data = data[int(key) if key.isdigit() else key]
    data[int(last) if last.isdigit() else last] = value
    path = write_logic(smear_yaml)
    with pytest.raises(DataError) as error:
        load_logic(path)
    assert rule in error.value.rule
    assert error.value.field == (field or place)
    assert error.value.file == str(path) and error.value.remedy and error.value.line


PLACEHOLDERS = [  # place, text, placeholder, those that are known there
    (f"{STAIN}.sentences.train.0", "The stain of the field is pale with {q}.", "{q}", "none"),
    ("concepts.platelets.values.few.answers.test.0", "A few {name}.", "{name}", "none"),
    ("concepts.platelets.numbers.sentences.train.0", "{n} {mention} are seen.", "{mention}", "{n}"),
    ("concepts.platelets.numbers.forms.0", "{n} {menton}", "{menton}", "{n}, {mention}"),
    ("hedges.uncertain.train.0", "The {nme} is uncertain.", "{nme}", "{name}"),
    ("questions.0.test.0", "Is the field in {focus}?", "{focus}", "none"),
    ("report_prompts.train.0", "Describe this {field}.", "{field}", "none"),
    ("report_prompts.train.0", "Describe this field}.", "}", "none"),
    ("unsupported.history.examples.train.0", "There is a history of {x}.", "{x}", "none"),
]


@pytest.mark.parametrize(("place", "text", "unknown", "known"), PLACEHOLDERS)
def test_a_placeholder_that_nothing_fills_is_refused(smear_yaml, write_logic, place, text, unknown, known):
    *parents, last = place.split(".")
    data = smear_yaml
    for key in parents:
        absent = {"train": ["Few."], "test": [""]}
        data = data[int(key)] if isinstance(data, list) else data.setdefault(key, absent)
    data[int(last)] = text
    path = write_logic(smear_yaml)
    with pytest.raises(DataError) as error:
        load_logic(path)
    assert f"{text!r} holds {unknown}, which nothing fills: known here are {known}" in error.value.rule
    assert error.value.file == str(path) and error.value.field == place
    assert text.split("{")[0] in path.read_text().splitlines()[error.value.line - 1]


def test_a_concepts_name_holds_no_placeholder(smear_yaml, write_logic):
    smear_yaml["concepts"]["stain"]["name"] = "stain of {x}"
    with pytest.raises(DataError, match=r"field 'concepts.stain.name': 'stain of \{x\}' holds \{x\}"):
        load_logic(write_logic(smear_yaml))


def test_error_points_at_the_line_of_the_mistake(smear_yaml, write_logic):
    path = write_logic(smear_yaml)
    lines = path.read_text().splitlines()
    number = next(i for i, line in enumerate(lines, start=1) if line.strip() == "value: red_cell_field")
    path.write_text(path.read_text().replace("value: red_cell_field", "value: red_field"))
    with pytest.raises(DataError, match=rf"my_logic.yaml:{number}, field .*unknown value 'red_field'"):
        load_logic(path)


def test_rule_that_can_never_fire_is_refused(smear_yaml, write_logic):
    rules = smear_yaml["concepts"]["impression"]["derived"]
    rules.insert(1, {"when": {"crowding": "crowded", "stain": "pale"}, "value": "leukocyte_field"})
    with pytest.raises(DataError, match="no valid path reaches this rule") as error:
        load_logic(write_logic(smear_yaml))
    assert error.value.field == "concepts.impression.derived.1"


def test_concept_derived_from_itself_is_refused(smear_yaml, write_logic):
    smear_yaml["concepts"]["impression"]["derived"][0]["when"] = {"impression": "thick_area"}
    with pytest.raises(DataError, match="'impression' is derived from itself"):
        load_logic(write_logic(smear_yaml))


def test_constraints_that_exclude_everything_are_refused(smear_yaml, write_logic):
    smear_yaml["constraints"].append({"name": "never", "require": {"stain": "pale", "not": {"stain": ["pale"]}}})
    with pytest.raises(DataError, match="no path satisfies all constraints"):
        load_logic(write_logic(smear_yaml))


def test_repeated_keys_and_bad_yaml_are_refused_with_their_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("schema_version: 1\ndomain: a\ndomain: b\n")
    with pytest.raises(DataError, match="key 'domain' is given twice") as error:
        load_logic(path)
    assert error.value.line == 3
    path.write_text("schema_version: [1\ndomain: a\n")
    with pytest.raises(DataError, match="not valid YAML"):
        load_logic(path)
    path.write_text("- 1\n")
    with pytest.raises(DataError, match="must hold a mapping"):
        load_logic(path)


def test_yes_and_no_are_words_not_booleans(tmp_path, smear_yaml, write_logic):
    text = write_logic(smear_yaml).read_text().replace("no: none\n", "no: none  # a word\n")
    path = tmp_path / "words.yaml"
    path.write_text(text)
    assert load_logic(path).concepts["platelets"].no == "none"


def test_missing_logics_name_what_there_is(tmp_path):
    with pytest.raises(DataError, match="no clinical logic is named 'heart'. Known: .*peripheral_smear"):
        load_logic("heart")
    with pytest.raises(DataError, match="no such file"):
        load_logic(tmp_path / "none.yaml")


def test_changed_file_is_read_anew(smear_yaml, write_logic):
    first = load_logic(write_logic(smear_yaml))
    smear_yaml["title"] = "Other"
    second = load_logic(write_logic(smear_yaml))
    assert (first.title, second.title) != ("Other", first.title) and second.title == "Other"
    assert first.fingerprint != second.fingerprint


def test_importing_clinical_loads_no_torch():
    code = "import sys, vlmalign.clinical as c; c.load_logic('peripheral_smear'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
