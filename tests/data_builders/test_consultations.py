"""When to call an expert, and what to say after: as supervised examples."""

import numpy as np
import pytest
from PIL import Image

from data_builders.consultations import build_consultations, measured_by
from data_builders.merging import merge_shards
from vlmalign.clinical import load_logic, parse_answer, parse_text
from vlmalign.records import Case, DatasetBuild, Demonstration, Finding, RecordFolder, read_manifest
from vlmalign.records.shards import Shard, building


class Script:
    identity = {"script": "test"}
    introduction = "Experts: <CELLS>."

    def call(self, findings):
        return f"<CELLS({'+'.join(findings)})>"

    def feedback(self, image, findings, labels, call):
        return f"{len(findings)} findings for {call}.", Image.new("RGB", image.size, (9, 9, 9))


@pytest.fixture
def built(world, logic, full):
    """An expert that contradicts the report about platelets, and is unsure whether there is a leukocyte."""
    text = world.report({**full, "platelets": "many"})
    cases = world.cases("cases", {"a": full}, texts={"a": text})
    answers = {"platelets": "none", "crowding": "crowded", "leukocyte": "present"}
    findings = world.findings("findings", cases, {"a": answers}, probability=0.5)

    def build(out="out", **settings):
        given = {"questions_per_case": 7, "logic": logic, "script": Script(), **settings}
        path = build_consultations(cases, findings, world.root / out, **given)
        return path, {record.id: record for record in RecordFolder(path, Demonstration)}

    return build


def test_an_expert_is_called_for_what_its_findings_speak_of_and_for_nothing_else(built, logic):
    _, records = built()
    called = {r.provenance["asked"] for r in records.values() if r.source == "consultation_call"}
    direct = {r.provenance["asked"] for r in records.values() if r.source == "consultation_direct"}
    assert called == {"platelets", "crowding", "leukocyte", "impression", "report"}
    assert direct == {"focus", "stain", "leukocyte_kind"}
    assert records["a/platelets/call"].response[0].text == "<CELLS(platelet_count)>"
    assert parse_answer(logic, "stain", records["a/stain/direct"].response[0].text) == "pale"


def test_after_a_call_the_answer_is_the_experts_and_its_doubt_is_said(built, logic):
    path, records = built()
    after = records["a/crowding/answer"]
    assert [m.role for m in after.prompt] == ["user", "assistant", "user"]
    assert [m.n_images for m in after.prompt] == [1, 0, 1] and len(after.images) == 2
    assert after.prompt[0].text.startswith("Experts: <CELLS>.")
    assert after.prompt[2].text.startswith("3 findings for <CELLS(red_cell_cover)>.")
    assert parse_answer(logic, "crowding", after.response[0].text) == "crowded"
    assert parse_answer(logic, "platelets", records["a/platelets/answer"].response[0].text) == "uncertain"
    assert read_manifest(path).counts["hedged_after_call"] == 2  # platelets and the leukocyte; probability 0.5
    pixels = np.asarray(RecordFolder(path, Demonstration).image(after.images[1]))
    assert (pixels == 9).all()


def test_a_number_that_means_nothing_on_this_image_is_answered_as_not_assessed(world, full):
    chest = load_logic("chest_xray")
    cases = world.cases("cases", {"a": full}, texts={"a": "The heart is enlarged."})
    (case,) = RecordFolder(cases, Case)
    said = {"cardiothoracic_ratio": 0.58, "age_group": "child", "projection": "ap"}
    with DatasetBuild(world.root / "measured", "finding", {}) as build:
        image = build.adopt(case.images[0], cases)
        found = [
            Finding(id=c, image=image, concept=c, status="present", value=v, expert="h@1") for c, v in said.items()
        ]
        build.commit("a", found)
    path = build_consultations(
        cases, build.path, world.root / "out", logic=chest, script=Script(), questions_per_case=len(chest.order)
    )
    records = {record.id: record for record in RecordFolder(path, Demonstration)}
    answer = records["a/cardiomegaly/answer"].response[0].text  # the report's "enlarged" is not the expert's
    assert parse_answer(chest, "cardiomegaly", answer) == "not_assessed"
    assert read_manifest(path).counts["hedged_after_call"] >= 1


def test_a_report_takes_the_experts_claims_and_leaves_out_what_the_expert_doubts(built, logic):
    _, records = built()
    said = parse_text(logic, records["a/report/answer"].response[0].text).answers
    assert said["crowding"] == "crowded" and said["stain"] == "pale" and said["impression"] == "thick_area"
    assert "platelets" not in said and "leukocyte" not in said


def test_questions_that_nobody_can_answer_are_left_out_and_counted(world, logic, full):
    cases = world.cases("cases", {"a": full, "b": full}, texts={"a": "The stain of the field is pale."})
    findings = world.findings("findings", cases, {"a": {"platelets": "none"}})
    path = build_consultations(
        cases, findings, world.root / "out", logic=logic, script=Script(), questions_per_case=7, reports=False
    )
    counts = read_manifest(path).counts
    assert counts["cases_without_findings"] == 1 and counts["direct_answers"] == 1 and counts["calls"] == 1
    assert counts["questions_without_label"] == 5


def test_a_derived_concept_is_the_experts_only_when_it_measures_all_that_its_rules_ask(logic):
    all_three = frozenset({"platelet_count", "red_cell_cover", "leukocyte_count"})
    assert set(measured_by(logic, "impression", all_three)) == all_three
    assert measured_by(logic, "impression", all_three - {"leukocyte_count"}) is None


def test_a_build_that_was_stopped_continues_to_the_same_bytes(built, killed, bytes_of):
    whole, _ = built("whole")
    killed(lambda: built("stopped"), 0)
    stopped, _ = built("stopped")
    assert bytes_of(whole) == bytes_of(stopped)


def test_asking_nothing_is_refused(built):
    with pytest.raises(ValueError, match="questions_per_case is 0: ask at least one, or set reports"):
        built(questions_per_case=0, reports=False)


def test_shards_merge_to_the_bytes_of_the_undivided_build(world, logic, full, bytes_of):
    cases = world.cases(
        "cases", {"a": full, "b": full, "c": full}, texts=dict.fromkeys("abc", "The stain is pale.")
    )
    findings = world.findings("findings", cases, dict.fromkeys("abc", {"platelets": "none"}))

    def build(name):
        return build_consultations(cases, findings, world.root / name, logic=logic, script=Script())

    parts = []
    for k in range(2):
        with building(Shard(k, 2)):
            parts.append(build(f"part-{k}"))
    assert bytes_of(merge_shards(parts, world.root / "merged")) == bytes_of(build("whole"))
