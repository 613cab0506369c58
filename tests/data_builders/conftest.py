"""Hand-made cases, findings and candidates with 8 x 8 pictures."""

from pathlib import Path

import pytest
from PIL import Image

from vlmalign.clinical import load_logic, render_conversation, render_report
from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Finding,
    RecordFolder,
    Reference,
    Sampling,
    assistant,
    user,
)

PROMPT = "Describe this blood smear field."
MEASURED = {
    "leukocyte": ("leukocyte_count", {"absent": 0.0, "present": 1.0}),
    "platelets": ("platelet_count", {"none": 0.0, "few": 2.0, "many": 5.0}),
    "crowding": ("red_cell_cover", {"sparse": 0.1, "moderate": 0.3, "crowded": 0.5}),
}
FULL = {
    "focus": "sharp",
    "stain": "pale",
    "leukocyte": "present",
    "leukocyte_kind": "segmented",
    "crowding": "moderate",
    "platelets": "few",
    "impression": "leukocyte_field",
}


@pytest.fixture(scope="session")
def logic():
    return load_logic("peripheral_smear")


@pytest.fixture(scope="session")
def effusion():
    """A small domain with a side, an amount and a stage."""
    return load_logic(Path(__file__).parent / "toy_effusion.yaml")


def findings_of(case_id, image, answers, *, expert="hand@1", std=None, probability=None):
    """Findings that say the answers: measurements for cells, categories for the rest, nothing derived."""
    findings = []
    for concept, value in answers.items():
        if concept == "impression" or value == "not_applicable":
            continue
        name, number = concept, value
        sure = {}
        if concept in MEASURED:
            name, numbers = MEASURED[concept]
            number = numbers[value]
            sure = {"unit": "1", "std": std}
            if probability is not None and name.endswith("_count"):
                sure["probability"] = probability
        findings.append(
            Finding(
                id=f"{expert}/{case_id}/{name}",
                image=image,
                concept=name,
                status="absent" if number == 0.0 else "present",
                value=number,
                expert=expert,
                case_id=case_id,
                **sure,
            )
        )
    return tuple(findings)


class World:
    """Writes small folders; every method returns the folder's path."""

    def __init__(self, root: Path, logic):
        self.root = root
        self.logic = logic

    def cases(self, name, truths, *, groups=None, texts=None, findings=True, split="train", reference=True):
        """`truths`: case id -> answers; a case with neither findings nor text has no reference at all."""
        path = self.root / name
        with DatasetBuild(path, "case", {"name": name}) as build:
            for number, (case_id, answers) in enumerate(truths.items()):
                shade = sum(map(ord, case_id)) % 256
                image = build.add_image(Image.new("RGB", (8, 8), (shade, number % 256, 0)))
                known = findings_of(case_id, image, answers) if findings else ()
                text = (texts or {}).get(case_id)
                case = Case(
                    id=case_id,
                    images=(image,),
                    messages=(user(PROMPT, images=1),),
                    reference=Reference(text=text, findings=known) if reference and (known or text) else None,
                    domain="peripheral_smear",
                    split=split,
                    group_id=(groups or {}).get(case_id, f"g-{case_id}"),
                    group_kind="slide",
                )
                build.commit(case_id, [case])
        return path

    def findings(self, name, cases, truths, **sure):
        """An expert's findings about the given cases' pictures."""
        path = self.root / name
        folder = RecordFolder(cases, Case)
        with DatasetBuild(path, "finding", {"name": name}) as build:
            for case in folder:
                if case.id not in truths:
                    continue
                build.adopt(case.images[0], folder.path)
                build.commit(case.id, findings_of(case.id, case.images[0], truths[case.id], **sure))
        return path

    def candidates(self, name, answers, *, cut=()):
        """`answers`: case id -> texts (a report each) or lists of (question, answer) (a conversation each).

        `cut`: ids of the candidates that the token limit cut.
        """
        path = self.root / name
        with DatasetBuild(path, "candidate", {"name": name}) as build:
            for case_id, drawn in answers.items():
                some = [self.candidate(case_id, k, said) for k, said in enumerate(drawn)]
                build.commit(case_id, [c.model_copy(update={"finished": c.id not in cut}) for c in some])
        return path

    def candidate(self, case_id, number, said, **fields):
        if isinstance(said, str):
            kind, messages = "report", [assistant(said)]
        else:
            kind, messages = "conversation", [assistant(said[0][1])]
            for question, answer in said[1:]:
                messages += [user(question), assistant(answer)]
            fields["extra"] = {"first_question": said[0][0]}
        return Candidate(
            id=f"{case_id}/{kind}/{number}",
            case_id=case_id,
            messages=tuple(messages),
            policy="tiny@0",
            sampling=Sampling(max_new_tokens=64, sample=number),
            seed=number,
            **fields,
        )

    def report(self, answers, seed=0):
        return render_report(self.logic, answers, seed=seed)

    def conversation(self, answers, seed=0, order="canonical"):
        turns = render_conversation(self.logic, answers, seed=seed, order=order)
        return [(turns[k].text, turns[k + 1].text) for k in range(0, len(turns), 2)]


@pytest.fixture
def world(tmp_path, logic):
    return World(tmp_path, logic)


@pytest.fixture
def killed(monkeypatch):
    """Run a build that dies after `k` commits, and return once it has died."""

    def run(build, k):
        real = DatasetBuild.commit
        done = []

        def commit(self, *args, **kwargs):
            if len(done) == k:
                raise KeyboardInterrupt
            done.append(1)
            return real(self, *args, **kwargs)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(DatasetBuild, "commit", commit)
            build()

    return run


def folder_bytes(path):
    """Every file of a folder with its bytes."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in Path(path).rglob("*") if p.is_file()}


@pytest.fixture
def bytes_of():
    return folder_bytes


@pytest.fixture
def full():
    """True answers of one field, complete and consistent."""
    return dict(FULL)
