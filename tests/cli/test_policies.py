"""A policy is named on the command line with the logic."""

from PIL import Image

from vlmalign.clinical import load_logic, parse_text
from vlmalign.records import Case, DatasetBuild, Demonstration, Finding, Reference, read_records, user

SEEN = {
    "drusen": "small", "rpe_irregularity": "none", "ped": "none", "hypertransmission": "none",
    "outer_retina": "preserved",
}  # fmt: skip
NOT_SEEN = (
    "hyperreflective_foci", "double_layer_sign", "shrm", "fibrosis", "subretinal_fluid", "intraretinal_fluid",
    "pseudocysts", "outer_retinal_tubulation", "traction",
)  # fmt: skip


def test_each_policy_stages_the_same_scan_in_its_own_way(tmp_path, vlmalign, refused):
    with DatasetBuild(tmp_path / "cases", "case", {"name": "oct"}) as build:
        image = build.add_image(Image.new("L", (8, 8), 7))
        made = {"image": image, "expert": "hand@1", "case_id": "a"}
        findings = [Finding(id=f"f-{c}", concept=c, status="present", value=v, **made) for c, v in SEEN.items()]
        findings += [Finding(id=f"f-{c}", concept=c, status="absent", **made) for c in NOT_SEEN]
        case = Case(
            id="a", images=(image,), messages=(user("Describe this OCT scan of the macula.", images=1),),
            reference=Reference(findings=tuple(findings)), domain="amd_oct", split="train", group_id="g",
            group_kind="patient",
        )  # fmt: skip
        build.commit("a", [case])
    stages = {}
    for policy in ("beckman", "retinavlm_train"):
        out = tmp_path / policy
        done = vlmalign(
            "build", "demonstrations", "--cases", tmp_path / "cases", "--out", out, "--logic", f"amd_oct@{policy}",
            "--from-reference", "--kinds", "report",
        )  # fmt: skip
        assert done.code == 0, done
        (record,) = read_records(out, Demonstration)
        stages[policy] = parse_text(load_logic("amd_oct"), record.response[0].text).answers["stage"]
    assert stages == {"beckman": "healthy", "retinavlm_train": "early"}
    known = {"cases": tmp_path / "cases", "out": tmp_path / "none", "logic": "amd_oct@mine"}
    options = [part for name, value in known.items() for part in (f"--{name}", value)]
    refused("build", "demonstrations", *options, "--from-reference", says="no policy is named 'mine'")
