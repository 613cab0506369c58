"""Tables of annotations as questions and answers, in parts."""

from collections import Counter, defaultdict

import pytest
from PIL import Image
from pydantic import ValidationError

from data_builders.curriculum import build_curriculum, read_curriculum
from data_builders.curriculum_config import CurriculumConfig
from data_builders.curriculum_questions import balanced_items
from data_builders.curriculum_table import Cell
from data_builders.merging import merge_shards
from vlmalign.records import DataError, Demonstration, read_manifest, read_records
from vlmalign.records.shards import building, parse_shard
from vlmalign.records.validation import validate_folder

ATTRIBUTES = {
    "findings": {
        "kind": "listed", "column": "found", "name": "biomarkers", "empty": "none",
        "items": {"drusen": "drusen", "fluid": "intraretinal fluid", "atrophy": "atrophy"},
    },
    "stage": {"kind": "category", "column": "stage", "values": {"e": "early disease", "l": "late disease"}},
    "acuity": {
        "kind": "number", "column": "letters", "unit": "letters", "name": "visual acuity",
        "bands": [{"name": "poor", "below": 35}, {"name": "useful"}],
    },
}  # fmt: skip
ROWS = [
    "image,patient,split,found,stage,letters",
    "p7_a.png,Ann,train,drusen; fluid,e,70",
    "p7_b.png,Ann,train,drusen,l,34.6",
    "p8_a.png,Bob,train,,e,",
    "p9_a.png,Cyd,train,fluid,,35",
    "p9_b.png,Dan,test,drusen;fluid;atrophy,l,12",
]
PARTS = [
    {"name": "attributes", "questions": [{"attribute": "findings", "form": "present"}]},
    {
        "name": "naming",
        "questions": [
            {"attribute": "findings", "form": "list", "answer": ["Seen: {{ items }}."], "none": ["Nothing."]},
            {"attribute": "stage", "form": "value", "ask": ["Is it {{ options }}?"], "answer": ["{{ value }}"]},
            {"attribute": "acuity", "form": "number", "answer": ["{{ number }} {{ unit }}"]},
            {"attribute": "acuity", "form": "band", "answer": ["{{ value }}"]},
        ],
    },
]


@pytest.fixture
def config(tmp_path):
    """Settings for a table of five pictures; fields may be replaced."""

    def make(rows=ROWS, **fields):
        images = tmp_path / "images"
        images.mkdir(exist_ok=True)
        for number, line in enumerate(ROWS[1:]):
            Image.new("L", (8, 8), number * 20).save(images / line.partition(",")[0])
        (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
        (tmp_path / "key").write_text("a secret")
        table = {
            "path": str(tmp_path / "table.csv"), "images": str(images), "group": "patient",
            "key_file": str(tmp_path / "key"), "split": "split",
        }  # fmt: skip
        return CurriculumConfig.model_validate(
            {"table": table, "attributes": ATTRIBUTES, "parts": PARTS, **fields}
        )

    return make


def test_each_item_is_answered_yes_as_often_as_no_and_more_often_where_it_is_frequent():
    # fluid in 3 of 10 images, drusen in 8: three and two can be balanced
    cells = [
        (str(k), Cell(p := tuple(i for i, n in (("fluid", 3), ("drusen", 8)) if k < n),
                      tuple(i for i in ("fluid", "drusen") if i not in p)))
        for k in range(10)
    ]  # fmt: skip
    asked, left_out = balanced_items(cells, seed=0, attribute="findings")
    tally = Counter((item, int(row) < {"fluid": 3, "drusen": 8}[item]) for row, item in asked)
    assert tally == {("fluid", True): 3, ("fluid", False): 3, ("drusen", True): 2, ("drusen", False): 2}
    assert left_out == 10
    assert balanced_items(cells, seed=1, attribute="findings")[0] != asked


def test_a_question_about_an_item_says_nothing_of_its_answer(config, tmp_path):
    out = build_curriculum(config(), tmp_path / "out")
    answers = defaultdict(Counter)
    records = read_records(out / "part-1-attributes", Demonstration)
    for record in records:
        told = record.provenance
        answers[told["item"], record.split][told["answer"]] += 1
        assert record.response[0].text.lower().startswith(told["answer"])
    # of the training images drusen are in 2 of 4, fluid in 2 of 4, atrophy in none; one test image has no contrast
    assert answers == {(item, "train"): {"yes": 2, "no": 2} for item in ("drusen", "fluid")}
    counts = read_manifest(out / "part-1-attributes").counts
    assert (counts["yes"], counts["no"], counts["left_out_for_balance:findings"]) == (4, 4, 4 + 3)
    assert counts["images_seen"] == 5 and not validate_folder(out / "part-1-attributes")


def test_cells_are_said_as_they_are_and_empty_ones_are_not_asked(config, tmp_path):
    out = build_curriculum(config(), tmp_path / "out")
    said = defaultdict(list)
    for record in read_records(out / "part-2-naming", Demonstration):
        said[record.provenance["attribute"], record.provenance["form"]].append(record.response[0].text)
    assert said["findings", "list"] == [
        "Seen: drusen and intraretinal fluid.", "Seen: drusen.", "Nothing.", "Seen: intraretinal fluid.",
        "Seen: drusen, intraretinal fluid and atrophy.",
    ]  # fmt: skip
    assert said["stage", "value"] == ["early disease", "late disease", "early disease", "late disease"]
    assert said["acuity", "number"] == ["70 letters", "35 letters", "35 letters", "12 letters"]
    assert said["acuity", "band"] == [
        "useful",
        "poor",
        "useful",
        "poor",
    ]  # 34.6 is below 35, though it rounds to it
    counts = read_manifest(out / "part-2-naming").counts
    assert (counts["missing:stage"], counts["missing:acuity"]) == (1, 1)


def test_patients_and_file_names_stay_in_the_reader(config, tmp_path):
    out = build_curriculum(config(), tmp_path / "out")
    groups = defaultdict(set)
    for file in out.rglob("*.json*"):
        assert not any(name in file.read_text() for name in ("Ann", "Bob", "p7", "p9", "a secret", str(tmp_path)))
    for record in read_records(out / "part-2-naming", Demonstration):
        groups[record.group_id].add(record.case_id)
    assert sorted(map(len, groups.values())) == [1, 1, 1, 2]  # two pictures are of one patient


def test_the_list_of_parts_states_their_order_and_notices_a_changed_part(config, tmp_path):
    out = build_curriculum(config(), tmp_path / "out")
    parts = read_curriculum(out).parts
    assert [part.folder for part in parts] == ["part-1-attributes", "part-2-naming"]
    assert [part.records for part in parts] == [8, 5 + 4 + 4 + 4]
    build_curriculum(config(seed=1, parts=PARTS[:1]), tmp_path / "out", overwrite=True)
    assert len(read_curriculum(out).parts) == 1
    (out / "part-1-attributes" / "manifest.json").write_bytes(
        (out / "part-2-naming" / "manifest.json").read_bytes()
    )
    with pytest.raises(DataError, match="built anew"):
        read_curriculum(out)


def test_a_logic_is_a_part_beside_a_table(config, tmp_path, world, full):
    cases = world.cases("cases", {"a": full})
    logic = {"logic": "peripheral_smear", "cases": str(cases), "kinds": ["report"]}
    parts = [*PARTS[:1], {"name": "reports", "logic": logic}]
    out = build_curriculum(config(parts=parts), tmp_path / "out")
    assert [part.records for part in read_curriculum(out).parts] == [8, 1]
    parts += [{"name": "again", "demonstrations": str(out / "part-2-reports")}]
    build_curriculum(config(parts=parts), tmp_path / "out")
    again = read_records(out / "part-3-again", Demonstration)
    assert again == read_records(out / "part-2-reports", Demonstration) and not validate_folder(
        out / "part-3-again"
    )


def test_a_killed_build_continues_to_the_same_bytes(config, tmp_path, killed, bytes_of):
    whole = build_curriculum(config(), tmp_path / "whole")
    for _ in range(3):
        killed(lambda: build_curriculum(config(), tmp_path / "broken"), 3)
        assert not (tmp_path / "broken" / "curriculum.json").exists()
    build_curriculum(config(), tmp_path / "broken")
    assert bytes_of(tmp_path / "broken") == bytes_of(whole)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p7_a.png,Ann,train,drusen,x,70", r"table.csv:2.*stage.*the value 'x' is none of \['e', 'l'\]"),
        ("p7_a.png,Ann,train,dragon,e,70", "csv:2.*found.*the item 'dragon' is none of"),
        ("p7_a.png,Ann,train,drusen,e,many", "csv:2.*letters.*'many' is no number"),
        ("p7_a.png,Ann,train,drusen,e,nan", "'nan' is no number"),
        ("../key,Ann,train,drusen,e,70", "csv:2.*image.*leaves the dataset folder"),
        ("none.png,Ann,train,drusen,e,70", "no image 'none.png'"),
        ("p7_a.png,,train,drusen,e,70", "csv:2.*patient.*not named"),
        ("p7_a.png,Ann,training,drusen,e,70", "split is 'training'"),
        ("p7_b.png,Ann,train,drusen,e,70", "csv:3.*comes a second time"),
        ("p7_a.png,Ann,train,drusen,e", "another number of cells"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(config, tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        build_curriculum(config(rows=[ROWS[0], line, *ROWS[2:]]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def question(**fields):
    return {"parts": [{"name": "p", "questions": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (question(attribute="stage", form="value", ask=["Is this early disease?"]), "gives the answer away"),
        (question(attribute="stage", form="value", ask=["Is it {{ value }}?"]), "'value' is undefined"),
        (question(attribute="stage", form="number"), "a category has the forms"),
        (question(attribute="colour", form="value"), "no such attribute"),
        (question(attribute="stage", form="value", yes=["Yes."]), "has no 'yes'"),
        (question(attribute="stage", form="value", ask=["{{ name"]), "ask"),
        ({"parts": [*PARTS, PARTS[0]]}, "a name of its own"),
        ({"parts": [{"name": "empty"}]}, "exactly one of questions, logic and"),
        ({"table": {"path": "t", "images": "i", "group": "patient"}}, "both or neither"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, fields, message):
    with pytest.raises(ValidationError, match=message):
        config(**fields)


def test_shards_of_each_part_merge_and_the_same_build_then_adds_the_list(config, tmp_path, bytes_of):
    whole = build_curriculum(config(), tmp_path / "whole")
    for k in range(2):
        with building(parse_shard(f"{k}/2")):
            build_curriculum(config(), tmp_path / f"s{k}")
    for part in ("part-1-attributes", "part-2-naming"):
        merge_shards([tmp_path / f"s{k}" / part for k in range(2)], tmp_path / "merged" / part)
    assert bytes_of(build_curriculum(config(), tmp_path / "merged")) == bytes_of(whole)
