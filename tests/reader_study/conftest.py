"""A small study: six slides, two models and a report by a person."""

import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from vlmalign.reader_study import StudyPlan, design_study
from vlmalign.records import Attributes, Candidate, Case, DatasetBuild, Reference, Sampling, assistant, user

NASTY = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script></script>\u2028Clear."
OF_DESIGN = ("earlier", "trained_on", "leave_out_used", "listed", "judged", "overwrite", "secret")
ARMS = ("sft_zebra", "dpo_quagga", "human_okapi")


def texts_of(arm, i):
    if arm == "sft_zebra":
        return NASTY if i == 0 else f"The lungs are clear in film {i}. No effusion is seen."
    return f"A small effusion lies on the left in film {i}. The heart is of normal size. Nothing else."


def make_inputs(root, n=6, secret_in_image="Patient^Mueller"):
    with DatasetBuild(root / "cases", "case", {"n": n}) as build:
        for i in range(n):
            pixels = np.random.default_rng(i).integers(0, 255, (40, 50), dtype=np.uint8)
            info = PngImagePlugin.PngInfo()
            info.add_text("PatientName", f"{secret_in_image}{i}")
            path = root / f"{i}.png"
            Image.fromarray(pixels).save(path, pnginfo=info)
            ref = build.add_image(path)
            build.commit(f"c{i}", [Case(
                id=f"case-{i}", images=(ref,), messages=(user("Describe the film.", images=1),), domain=""
                "chest_xray",
                group_id=f"patient-{i // 2 if n > 6 else i}", group_kind="patient",
                reference=Reference(text=texts_of("human_okapi", i) + " Signed."),
                attributes=Attributes(sex="fm"[i % 3 == 0]),
            )])  # fmt: skip
    for arm in ARMS[:2]:
        with DatasetBuild(root / arm, "candidate", {"arm": arm}) as build:
            for i in range(n):
                build.commit(f"c{i}", [Candidate(
                    id=f"{arm}/case-{i}", case_id=f"case-{i}", messages=(assistant(texts_of(arm, i)),),
                    policy=f"{arm}@step-12", sampling=Sampling(max_new_tokens=64), seed=0,
                )])  # fmt: skip
    return root


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def design(inputs, tmp_path):
    """Design a study of the two models with a fixed secret; settings of the plan and of design_study."""

    def make(name="study", *, arms=ARMS[:2], **given):
        options = {name: given.pop(name) for name in list(given) if name in OF_DESIGN}
        plan = StudyPlan(**{"readers": ("anna", "ben"), "purpose": "evaluation", **given})
        sources = {arm: "reference" if arm == "human_okapi" else inputs / arm for arm in arms}
        options.setdefault("secret", "s" * 64)
        return design_study(plan, tmp_path / name, cases=[inputs / "cases"], arms=sources, **options)

    return make


def write_answers(path, public, reader, answer, *, drop=()):
    """What a reader's page saves; `answer(reading)` gives the fields of one answer."""
    form = public.form(reader)
    answers = [
        {"reading": r.id, "seconds": 5.0, "visits": 1, "answered": f"2026-01-01T00:00:{i:02}Z", **answer(r)}
        for i, r in enumerate(form.readings)
        if r.id not in drop
    ]
    content = {"format": "vlmalign-reader-answers@1", "study": public.study, "reader": reader,
               "version": form.version, "answers": answers}  # fmt: skip
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def answer_file():
    return write_answers
