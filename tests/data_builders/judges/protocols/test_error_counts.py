"""GREEN-style replies: each defect of the published parser is read right here, or is no score."""

import pytest

from data_builders.judges.error_counts import CATEGORIES, read_error_counts
from data_builders.judges.green import Green
from data_builders.judges.reading import Unread, state_of

LABELS = [  # as GREEN's own prompt words them
    "False report of a finding in the candidate", "Missing a finding present in the reference",
    "Misidentification of a finding's anatomic location/position", "Misassessment of the severity of a finding",
    "Mentioning a comparison that isn't in the reference",
    "Omitting a comparison detailing a change from a prior study",
]  # fmt: skip
ZERO = [0, 0, 0, 0, 0, 0]


def section(counts, labels=LABELS, form="({letter}) {label}: {count}."):
    return "\n".join(
        form.format(letter="abcdef"[n], label=labels[n], count=count, number=n + 1)
        for n, count in enumerate(counts)
    )


def reply(significant=None, insignificant=None, matched="2. Effusion; cardiomegaly"):
    errors = [section(ZERO) if given is None else given for given in (significant, insignificant)]
    parts = ["[Explanation]:\nThe candidate misses things.", "[Clinically Significant Errors]:", errors[0]]
    parts += ["[Clinically Insignificant Errors]:", errors[1], "[Matched Findings]:", matched]
    return "\n\n".join(parts)


def read(text):
    found = read_error_counts(text)
    if isinstance(found, Unread):
        return found.why
    return list(found.significant.values()), sum(found.insignificant.values()), found.matched


def one(line, letter="b"):
    """A section of zeros, but for this line."""
    return "\n".join(line if other.startswith(f"({letter})") else other for other in section(ZERO).splitlines())


B1 = [0, 1, 0, 0, 0, 0]
B2 = [0, 2, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("significant", "counts"),
    [
        (section(ZERO), ZERO),
        ("None", ZERO),
        ("No significant errors.", ZERO),
        ("- None", ZERO),
        (section([1, 0, 2, 0, 0, 3]), [1, 0, 2, 0, 0, 3]),
        (section(B1, form="({letter}) {label}: {count}"), B1),  # no full stop: there it became no error
        (section(B1).replace("\n", "\n\n"), B1),  # blank lines inside: there the rest was lost
        (section(B1, form="{letter}) {label}: {count} errors"), B1),
        (section(B1, form="**({letter}) {label}:** {count}"), B1),
        (section(B1, form="- ({letter}): {count}"), B1),
        (section(B1, form="({letter}) {count}"), B1),
        (section(B1, labels=[c.name for c in CATEGORIES], form="{number}. {label}: {count}"), B1),
        (section(["None", "one", "zero", "No errors", "0. None", "0. No such finding"]), B1),
        (one("(b) Missing a finding: 2. Effusion; pneumothorax."), B2),
        (one("(b) Missing a finding: 2. Effusion and pneumothorax, both large."), B2),
        (one("(b) Missing a finding: 2 (effusion; pneumothorax)"), B2),
        (one("(b) Missing a finding:\n- effusion\n- pneumothorax"), B2),
        (one("(b) Missing a finding: 2\n* effusion\n* pneumothorax"), B2),
        (one("(b) Missing a finding:\n1. effusion\n2. pneumothorax"), B2),
        (one("(b) Missing a finding: 2. 3 mm nodule; effusion"), B2),
    ],
)
def test_counts_are_read_in_all_their_forms(significant, counts):
    assert read(reply(significant)) == (counts, 0, 2)


@pytest.mark.parametrize(
    ("matched", "count"),
    [
        ("0", 0), ("None.", 0), ("0. None", 0), ("No matched findings", 0), ("3", 3), ("3. A; B; C", 3),
        ("1. Cardiomegaly", 1), ("1. Cardiomegaly\n2. Effusion\n3. Line", 3),  # a numbered list is not "1."
        ("- Cardiomegaly\n- Effusion", 2), ("2.\n- Cardiomegaly\n\n- Effusion", 2), ("Two: A; B", 2),
        ("2. A; B\n\nOverall a fair report.", 2),
    ],
)  # fmt: skip
def test_matched_findings_are_counted_or_listed(matched, count):
    assert read(reply(matched=matched)) == (ZERO, 0, count)


def test_a_count_may_stand_beside_its_header_and_the_explanation_may_be_left_out():
    text = f"Significant Errors:\n{section(B1)}\nInsignificant errors: none\nMatched findings: 2. A; B"
    assert read(text) == (B1, 0, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'significant' is missing"),
        ("The report is excellent.", "'significant' is missing"),
        (reply().replace("[Clinically Significant Errors]:", ""), "'significant' is missing"),  # there: 1.0
        (reply().replace("[Matched Findings]:", ""), "'matched' is missing"),
        (reply().replace("[Clinically Insignificant Errors]:", ""), "'insignificant' is missing"),
        (reply(matched=""), "'matched' is empty"),
        (reply("") + "\n", "'significant' is empty"),
        (reply() + "\n[Matched Findings]: 9", "'matched' comes twice"),
        (reply("N/A"), "belongs to no category"),
        (reply("There may be some."), "belongs to no category"),
        (reply(section(ZERO).rpartition("\n")[0]), "'omitted comparison' is missing"),  # as a cut reply leaves it
        (reply(section(ZERO) + "\n(a) x: 0."), "'false finding' comes twice"),
        (reply(one("(b) Missing a finding:")), "missing finding: there is no count"),
        (reply(one("(b) Missing a finding: effusion")), "'effusion' begins with no whole number"),
        (reply(one("(b) Missing a finding: number. error; error")), "begins with no whole number"),
        (reply(one("(b) Missing a finding: 0.5")), "'0.5' begins with no whole number"),
        (reply(one("(b) Missing a finding: -1.")), "'-1.' begins with no whole number"),
        (reply(one("(b) Missing a finding: 1-2.")), "'1-2.' begins with no whole number"),
        (reply(one("(b) Missing a finding: 1 or 2.")), "'1 or 2.' begins with no whole number"),
        (reply(one("(b) Missing a finding: several.")), "begins with no whole number"),
        (reply(one("(b) Missing a finding: 100.")), "begins with no whole number"),
        (reply(one("(b) Missing a finding: 0. Effusion.")), "the count is 0, but there is 'Effusion.'"),
        (reply(one("(b) Missing a finding: 0. No mention of the effusion.")), "the count is 0, but"),
        (reply(one("(b) Missing a finding: 0. None, but the effusion.")), "the count is 0, but"),
        (reply(one("(b) Missing a finding: 0\n- effusion")), "the count is 0, but"),
        (reply(one("(b) Missing a finding: 2. None")), "the count is 2, but it says 'None'"),
        (reply(one("(b) Missing a finding: 3. Effusion; line")), "the count is 3, but 2 are listed"),
        (reply(one("(b) Missing a finding: 1\n- effusion\n- line")), "the count is 1, but 2 are listed"),
        (reply(one("(b) Wrong severity: 1.")), "(b) is labelled 'Wrong severity', but is 'missing finding'"),
        (reply(matched="Cardiomegaly; effusion"), "begins with no whole number"),
        (reply(matched="1. Cardiomegaly; effusion"), "the count is 1, but 2 are listed"),
        (reply(matched="0. Cardiomegaly"), "the count is 0, but there is 'Cardiomegaly'"),
    ],
)
def test_what_cannot_be_read_is_no_score(text, why):
    assert why in read(text)


def test_the_score_and_its_length_controlled_form(item, script, judged):
    judge = script(reply(section([1, 0, 0, 0, 0, 0]), section([0, 0, 0, 4, 0, 0]), "3. A; B; C"))
    short = item("Effusion. Line. Nodule. Mass.", reference="Effusion. Line. Nodule. No mass. More here.")
    (found,) = judged(Green(), short, judge)
    assert found.score == 0.75  # 3 / (3 + 1); insignificant errors do not count
    assert found.components["significant_false_finding"] == 1 and found.components["insignificant"] == 4
    assert found.components["length_controlled"] == 0.75  # 4 words against 7: brevity is no merit
    assert "| Effusion. Line. Nodule. No mass. More here." in judge.prompts[0]
    long = item("word " * 14, reference="Effusion. Line. Nodule. No mass. More here.")
    assert judged(Green(), long, judge)[0].components["length_controlled"] == 0.375


def test_without_a_reference_nothing_is_asked(item, script, judged):
    judge = script("")
    assert [state_of(j) for j in judged(Green(), item("x", "y", reference=" "), judge)] == ["no_reference"] * 2
    assert judge.requests == []


def test_nothing_matched_and_nothing_wrong_is_undefined(item, script, judged):
    found = judged(Green(), item("x", reference="y z"), script(reply(matched="0")))[0]
    assert (found.valid, state_of(found)) == (False, "undefined")
    found = judged(Green(), item("x", reference="y z"), script(reply(section(B1), matched="None")))[0]
    assert found.score == 0.0  # this zero is one
