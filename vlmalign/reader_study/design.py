"""Design a reader study: choose cases, allocate them to readers, and write the public part and the key."""

from __future__ import annotations

import itertools
import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmalign.reader_study.allocation import Slot, allocate
from vlmalign.reader_study.arms import SIDES, Inputs, Material, read_arms, read_pairs
from vlmalign.reader_study.pictures import plain_png
from vlmalign.reader_study.plan import StudyPlan
from vlmalign.reader_study.reuse import refuse_reused, reused
from vlmalign.reader_study.selection import select, uncertainty_of, usable
from vlmalign.reader_study.study import (
    CASES,
    IMAGES,
    KEY_FILE,
    PRIVATE,
    PUBLIC,
    STUDY_FILE,
    Key,
    KeyItem,
    KeyReading,
    KeyText,
    PublicStudy,
    Questions,
    ReaderForm,
    Reading,
    opaque,
    read_key,
    refuse_others,
    sentences,
    to_bytes,
)
from vlmalign.records import DataError, DatasetBuild, Message
from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.manifest import strictest
from vlmalign.records.writing import put, replacing_folder

BY_A_PERSON = "Which of the two texts was written by a person?"
BY_THE_MODEL = "Which of the two texts comes from the model that was trained further?"
ALONE = {BY_A_PERSON: "Was this text written by a person?"}
ALONE_MODEL = "Does this text come from the model that was trained further?"


def design_study(
    plan: StudyPlan,
    out: str | Path,
    *,
    cases: Sequence[str | Path] = (),
    arms: Mapping[str, str | Path] | None = None,
    pairs: str | Path | None = None,
    judged: str | Path | None = None,
    listed: Sequence[str] = (),
    earlier: Sequence[str | Path] = (),
    trained_on: Sequence[str | Path] = (),
    leave_out_used: bool = False,
    secret: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a study folder; see `vlmalign.reader_study.study` for what is in it.

    Cases and their order depend on the inputs and `plan.seed` alone. Which text stands on which side, which of
    several comparisons a reader gets, and the names in the public part also depend on a secret, which is drawn
    once and kept in the key: give it again to write the same bytes elsewhere. Without it nobody can work out the
    sides.

    Args:
        plan: the settings.
        out: the study folder.
        cases: Case folders; with `arms`.
        arms: name -> Candidate folder, `reference`, or a CSV of reports; see `read_arms`.
        pairs: instead of cases and arms: a Preference folder of pairs to be decided.
        judged: with select 'uncertain' and arms: judgements that score the candidates.
        listed: with select 'listed': ids of the cases.
        earlier: earlier studies; their cases are not read for another purpose.
        trained_on: record folders that models learnt from; not read for evaluation.
        leave_out_used: leave such cases out instead of refusing.
        secret: of sides and names; default drawn, or that of the folder that is there.
        overwrite: replace a study of other settings.

    Returns:
        The folder.

    Raises:
        ValueError: options that make no sense together.
        DataError: inputs that cannot be used, cases that serve another purpose (named), texts that tell an arm's
            name, or a folder that holds something else.
    """
    out = Path(out)
    _check_options(plan, cases, arms, pairs, judged, listed)
    old = _present(out)
    secret = secret or (old.secret if old is not None else secrets.token_hex(32))
    inputs = read_pairs(pairs) if pairs is not None else read_arms(cases, arms or {})
    if plan.guess_arm is not None and plan.guess_arm not in inputs.arms:
        raise ValueError(f"guess_arm is {plan.guess_arm!r}: choose among {', '.join(inputs.arms)}")
    chosen = _choose(plan, inputs, judged, listed, earlier, trained_on, leave_out_used)
    key = _key(plan, inputs, chosen, secret)
    _refuse_names(key, plan, chosen)
    public = _public(key, plan, chosen)
    if old is not None and not overwrite:
        if to_bytes(old) == to_bytes(key):
            return out  # complete already
        raise DataError(
            f"the folder holds study {old.study!r}, designed with other inputs or settings",
            "Choose another --out, or pass --overwrite to replace it: answers to the old one can then not be "
            "read.",
            file=out,
        )
    refuse_others(out, lambda path: path.parts[0] in (PUBLIC, PRIVATE))
    _write(out, plan, key, public, chosen)
    return out


def _check_options(
    plan: StudyPlan,
    cases: Sequence[str | Path],
    arms: Mapping[str, str | Path] | None,
    pairs: str | Path | None,
    judged: str | Path | None,
    listed: Sequence[str],
) -> None:
    if (pairs is None) == (not arms):
        raise ValueError("give either cases and arms, or pairs")
    if pairs is not None and (cases or judged is not None or plan.texts_per_item == 1 or plan.crossed):
        raise ValueError("with pairs: no cases, no judged, two texts per item, and no crossed arms")
    if arms and not cases:
        raise ValueError("arms are given and cases are not: name the folder of cases that they answered")
    if arms and len(arms) < plan.texts_per_item:
        raise ValueError("two texts are shown side by side, but there is one arm: name another one")
    if arms and len({name.lower() for name in arms}) < len(arms):
        raise ValueError("two arms have the same name")
    if (plan.select == "listed") != bool(listed):
        raise ValueError("select 'listed' and a list of cases go together: give both or neither")
    if plan.select == "uncertain" and arms and judged is None:
        raise ValueError("select is 'uncertain': give judgements of the candidates, with std, by `vlmalign score`")
    if judged is not None and plan.select != "uncertain":
        raise ValueError(f"judged is given but select is {plan.select!r}: set select to 'uncertain'")


def _present(out: Path) -> Key | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / PUBLIC / STUDY_FILE).is_file():
        raise DataError("the folder is not empty and holds no study", "Choose another --out.", file=out)
    return read_key(out, remedy="Put the key back to design this study again, or choose another --out.")


def _choose(
    plan: StudyPlan,
    inputs: Inputs,
    judged: str | Path | None,
    listed: Sequence[str],
    earlier: Sequence[str | Path],
    trained_on: Sequence[str | Path],
    leave_out_used: bool,
) -> list[Material]:
    found = usable(inputs, plan)
    taken = reused(plan.purpose, found, earlier=earlier, trained_on=trained_on)
    if leave_out_used:
        inputs.counts["used_otherwise"] += len(taken)
        found = [m for m in found if m.case.id not in taken]
    sure = uncertainty_of(judged, found) if judged is not None else None
    chosen = select(plan, found, inputs.counts, listed=listed, uncertainty=sure)
    refuse_reused(plan.purpose, {m.case.id: taken[m.case.id] for m in chosen if m.case.id in taken})
    inputs.counts["cases"] = len(chosen)
    return chosen


def comparisons(plan: StudyPlan, arms: Sequence[str]) -> list[tuple[str, ...]]:
    """What is compared: pairs of arms, or each arm alone."""
    if plan.texts_per_item == 1:
        return [(arm,) for arm in arms]
    if plan.compare == "with_first":
        return [(arms[0], arm) for arm in arms[1:]]
    return list(itertools.combinations(arms, 2))


def _key(plan: StudyPlan, inputs: Inputs, chosen: Sequence[Material], secret: str) -> Key:
    asked = comparisons(plan, inputs.arms)
    target = plan.guess_arm or (inputs.human[0] if inputs.human else inputs.arms[-1])
    if inputs.arms == SIDES or not plan.guesses:
        target = ""
    alone = plan.texts_per_item == 1
    guessable = {
        i: int(names[0] != target) for i, names in enumerate(asked) if target and (alone or target in names)
    }
    per_reader = allocate(plan, len(chosen), len(asked), guessable, secret)
    texts: dict[str, KeyText] = {}
    items: dict[str, KeyItem] = {}
    readings: dict[str, KeyReading] = {}
    for reader, slots in zip(plan.readers, per_reader, strict=True):
        for place, slot in enumerate(slots):
            item, ids = _item(chosen[slot.case], asked[slot.comparison], secret, texts, items)
            name = opaque(secret, "r", "reading", reader, place)
            readings[name] = _reading(reader, item, slot, ids)
    return Key(
        study=opaque(secret, "s", "study", plan.title),
        secret=secret,
        purpose=plan.purpose,
        arms=inputs.arms,
        guess_arm=target or None,
        plan=plan,
        inputs=inputs.hashes,
        counts=dict(+Counter(inputs.counts)),
        data_use=strictest(inputs.uses),
        texts=texts,
        items=items,
        readings=readings,
    )


def _item(
    material: Material,
    names: tuple[str, ...],
    secret: str,
    texts: dict[str, KeyText],
    items: dict[str, KeyItem],
) -> tuple[str, tuple[str, ...]]:
    ids = tuple(material.texts[arm][0] for arm in names)
    for arm in names:
        texts[material.texts[arm][0]] = material.texts[arm][1]
    item = opaque(secret, "i", "item", material.case.id, names)
    items[item] = KeyItem(
        case_id=str(material.case.extra.get("case_id", material.case.id)),
        record=material.case.id,
        group_id=material.case.group_id,
        texts=ids,
        pair_id=material.pair_id,
    )
    return item, ids


def _reading(reader: str, item: str, slot: Slot, ids: tuple[str, ...]) -> KeyReading:
    return KeyReading(
        reader=reader,
        item=item,
        kind="guess" if slot.guess else "rate",
        session=slot.session,
        repeat=slot.repeat,
        shown=ids[::-1] if slot.swapped else ids,
    )


def shown_text(messages: Sequence[Message]) -> str:
    """An answer as readers see it; of a conversation the questions too."""
    if len(messages) == 1:
        return messages[0].text
    return "\n".join(f"{'Q' if m.role == 'user' else 'A'}: {m.text}" for m in messages)


def _public(key: Key, plan: StudyPlan, chosen: Sequence[Material]) -> PublicStudy:
    by_id = {m.case.id: m for m in chosen}
    forms = []
    for reader in plan.readers:
        readings = []
        for name, reading in key.readings.items():
            if reading.reader != reader:
                continue
            case = by_id[key.items[reading.item].record].case
            readings.append(
                Reading(
                    id=name,
                    session=reading.session,
                    kind=reading.kind,
                    images=tuple(_picture_name(key.secret, ref.sha256) for ref in case.images),
                    prompt="\n".join(m.text for m in case.messages if m.role != "system").strip(),
                    texts=tuple(sentences(shown_text(key.texts[text].messages)) for text in reading.shown),
                )
            )
        forms.append(ReaderForm(reader=reader, readings=tuple(readings)))
    questions = Questions(
        texts=plan.texts_per_item,
        preference=plan.preference,
        criteria=plan.criteria,
        mark_errors=plan.mark_errors,
        comment=plan.comment,
        guess=_guess_question(key, plan),
    )
    return PublicStudy(
        study=key.study,
        title=plan.title,
        instructions=plan.instructions,
        questions=questions,
        washout_days=plan.washout_days if plan.crossed else 0,
        forms=tuple(forms),
        key_sha256=sha256_bytes(to_bytes(key)),
    )


def _guess_question(key: Key, plan: StudyPlan) -> str | None:
    if key.guess_arm is None:
        return None
    if plan.guess_question:
        return plan.guess_question
    human = all(t.policy in ("reference", "human") for t in key.texts.values() if t.arm == key.guess_arm)
    if plan.texts_per_item == 1:
        return ALONE[BY_A_PERSON] if human else ALONE_MODEL
    return BY_A_PERSON if human else BY_THE_MODEL


def _picture_name(secret: str, sha256: str) -> str:
    return opaque(secret, "p", "picture", sha256) + ".png"


def _refuse_names(key: Key, plan: StudyPlan, chosen: Sequence[Material]) -> None:
    """No text that readers see may tell the name of an arm."""
    told = [
        ("title", plan.title),
        ("instructions", plan.instructions),
        ("guess_question", plan.guess_question or ""),
    ]
    told += [(f"reader {name!r}", name) for name in plan.readers]
    told += [(f"candidate {name!r}", shown_text(text.messages)) for name, text in key.texts.items()]
    told += [(f"the prompt of case {m.case.id!r}", " ".join(x.text for x in m.case.messages)) for m in chosen]
    for arm in key.arms:
        pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(arm)}(?![A-Za-z0-9])", re.IGNORECASE)
        found = [where for where, text in told if pattern.search(text)]
        if found:
            raise DataError(
                f"the name of arm {arm!r} stands in {len(found)} texts that readers see, e.g. {found[0]}",
                "Give the arm another name, or the study another wording: the reading would not be blind.",
            )


def _write(out: Path, plan: StudyPlan, key: Key, public: PublicStudy, chosen: Sequence[Material]) -> None:
    """Write all of it beside `out`, then put it in place: a study is there whole or not at all."""
    with replacing_folder(out) as partial:
        for material in chosen:
            for ref in material.case.images:
                target = partial / PUBLIC / IMAGES / _picture_name(key.secret, ref.sha256)
                if not target.exists():
                    path = material.folder.resolve(ref)
                    put(target, plain_png(path, plan.max_pixels, record=material.case.id))
        put(partial / PUBLIC / STUDY_FILE, to_bytes(public))
        (partial / PRIVATE).mkdir(mode=0o700)  # readers may share this machine
        put(partial / PRIVATE / KEY_FILE, to_bytes(key))
        (partial / PRIVATE / KEY_FILE).chmod(0o600)  # wherever it is copied
        config = {"study": key.study, "key": public.key_sha256}
        with DatasetBuild(partial / PRIVATE / CASES, "case", config, data_use=key.data_use) as build:
            for material in chosen:
                for ref in material.case.images:
                    build.adopt(ref, material.folder.path)
                build.commit(material.case.id, [material.case])
