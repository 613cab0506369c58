"""Prompts, known findings and templates: what crosses without the answers, and the line without a model."""

import pytest

from data_builders import build_known_findings, build_prompts, build_templates
from vlmalign.clinical import parse_answer, parse_text
from vlmalign.records import Candidate, Case, Finding, read_manifest, read_records

from .conftest import FULL


def test_prompts_carry_no_reference_and_every_image(world):
    one, two = world.cases("one", {"a": FULL, "b": FULL}), world.cases("two", {"c": FULL})
    out = build_prompts([one, two], world.root / "prompts")
    cases = read_records(out, Case)
    assert [c.id for c in cases] == ["a", "b", "c"]
    assert all(c.reference is None and (out / c.images[0].path).exists() for c in cases)
    assert read_manifest(out).counts["references_removed"] == 3


def test_a_limit_takes_cases_at_even_distances_and_counts_the_others(world):
    cases = world.cases("many", {f"c{i}": FULL for i in range(10)})
    out = build_prompts([cases], world.root / "few", max_cases=5)
    assert [c.id for c in read_records(out, Case)] == ["c0", "c2", "c4", "c6", "c8"]
    assert read_manifest(out).counts["left_out"] == 5
    with pytest.raises(ValueError, match="max_cases is 0"):
        build_prompts([cases], world.root / "none", max_cases=0)


@pytest.mark.parametrize("n", [1, 3, 7, 9, 10, 11])
def test_a_limit_keeps_exactly_as_many_as_it_says(world, n):
    cases = world.cases("many", {f"c{i}": FULL for i in range(10)})
    assert read_manifest(build_prompts([cases], world.root / "some", max_cases=n)).counts["records"] == min(n, 10)


def test_known_findings_are_the_reference_findings_of_each_case(world):
    cases = world.cases("cases", {"a": FULL, "b": {}})
    out = build_known_findings(cases, world.root / "known")
    findings = read_records(out, Finding)
    assert {f.case_id for f in findings} == {"a"}
    assert read_manifest(out).counts["cases_without_findings"] == 1


def test_a_template_says_exactly_what_the_expert_is_sure_of(world, logic):
    cases = world.cases("cases", {"a": FULL}, reference=False)
    seen = {"leukocyte": "present", "crowding": "crowded"}
    findings = world.findings("findings", cases, {"a": seen})
    out = build_templates(cases, findings, world.root / "templates", logic=logic)
    report, conversation = read_records(out, Candidate)
    assert parse_text(logic, report.text).answers == seen | {"impression": "thick_area"}
    replies = [m.text for m in conversation.messages if m.role == "assistant"]
    read = dict(zip(logic.order, replies, strict=True))
    assert parse_answer(logic, "crowding", read["crowding"]) == "crowded"
    assert parse_answer(logic, "stain", read["stain"]) == "not_assessed"


def test_where_the_expert_is_sure_of_nothing_there_is_no_report_and_it_is_counted(world, logic):
    cases = world.cases("cases", {"a": FULL}, reference=False)
    findings = world.findings("findings", cases, {"a": {"leukocyte": "present"}}, probability=0.5)
    out = build_templates(cases, findings, world.root / "templates", logic=logic)
    assert [c.id for c in read_records(out, Candidate)] == ["a/conversation/0"]
    assert read_manifest(out).counts["nothing_certain"] == 1
