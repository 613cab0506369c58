"""Names that a user gives, a domain and concepts, against the clinical logics: what is misspelt is never read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from vlmalign.clinical import Logic, list_logics, load_logic
from vlmalign.clinical.evidence import used_findings
from vlmalign.records.suggestions import hint, unknown

ALIKE = 0.8  # names this alike are one name with a slip of the keyboard: chest_xry, but not chest_ct
OWN = "or say that names of your own are meant: --set own_names=true"


def check_domain(domain: str) -> None:
    """Refuse what looks like the name of a shipped logic and is not quite it; any other domain is the user's own.

    Raises:
        ValueError: naming the logic that is nearest.

    Example:
        >>> check_domain("dermatoscopy")
        >>> check_domain("chest_xry")
        Traceback (most recent call last):
        ...
        ValueError: unknown domain 'chest_xry'. Did you mean 'chest_xray'? A domain of your own needs another name.
    """
    if domain not in list_logics() and difflib.get_close_matches(domain, list_logics(), n=1, cutoff=ALIKE):
        raise ValueError(f"{unknown('domain', domain, list_logics())} A domain of your own needs another name.")


def logic_of(domain: str, own_names: bool) -> Logic | None:
    """The logic by which the names of a domain are checked; None where they are the user's own.

    Args:
        domain: of the cases.
        own_names: whether names that no logic knows are meant.

    Raises:
        ValueError: no logic is of this domain, and `own_names` is false.

    Example:
        >>> logic_of("peripheral_smear", False).domain, logic_of("dermatoscopy", True)
        ('peripheral_smear', None)
        >>> logic_of("smears", False)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: unknown domain 'smears'. Known domains: amd_oct, ... Correct it, or say that names ...
    """
    if domain in list_logics():
        return load_logic(domain)
    if not own_names:
        raise ValueError(f"{unknown('domain', domain, list_logics())} Correct it, {OWN}")
    return None


def check_presences(logic: Logic | None, concepts: Mapping[str, str], own_names: bool) -> None:
    """Refuse concepts that cannot be said to be present or absent alone.

    Args:
        logic: see `logic_of`.
        concepts: where the user gave the name -> the name.
        own_names: whether a name that the logic does not know is meant.

    Raises:
        ValueError: an unknown name, or a concept whose finding is a category.

    Example:
        >>> logic = load_logic("chest_xray")
        >>> check_presences(logic, {"findings": "pneumnia"}, False)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: findings: chest_xray has no concept 'pneumnia'. Did you mean 'pneumonia'? Correct it, or...
    """
    for where, name in concepts.items():
        if logic is None or not _known(logic, where, name, own_names) or name not in logic.concepts:
            continue
        if (concept := logic.concepts[name]).presence is None:
            raise ValueError(
                f"{where}: {name} of {logic.domain} is one of {', '.join(concept.values)}, not present or absent: "
                "give it as a category (--set categories.CONCEPT=COLUMN of the source `table`)"
            )


def check_categories(logic: Logic | None, concepts: Iterable[str], own_names: bool) -> None:
    """Refuse concepts that have no categories.

    Raises:
        ValueError: an unknown name, or that of a number.
    """
    for name in concepts:
        if logic is not None and _known(logic, "categories", name, own_names) and name not in logic.concepts:
            raise ValueError(f"categories: {name} of {logic.domain} is a number: give it in measurements")


def check_numbers(logic: Logic | None, where: str, units: Mapping[str, str], own_names: bool) -> None:
    """Refuse numbers that the logic does not read, or reads in another unit.

    Args:
        logic: see `logic_of`.
        where: the setting with the names, for the error.
        units: name -> unit.
        own_names: whether a name that the logic does not know is meant.

    Raises:
        ValueError: an unknown name, that of a concept without a number, or another unit.

    Example:
        >>> check_numbers(load_logic("amd_oct"), "measurements", {"drusen_size": "1"}, False)
        Traceback (most recent call last):
        ...
        ValueError: measurements: drusen_size has the unit '1', amd_oct reads it in 'um': convert it, and give \
--set units.drusen_size=um
    """
    if logic is None:
        return
    read = number_units(logic)
    for name, unit in units.items():
        if not _known(logic, where, name, own_names):
            continue
        if name not in read:
            raise ValueError(
                f"{where}: {name} of {logic.domain} is no number: those are {', '.join(sorted(read))}"
            )
        if unit != read[name]:
            raise ValueError(
                f"{where}: {name} has the unit {unit!r}, {logic.domain} reads it in {read[name]!r}: convert it, "
                f"and give --set units.{name}={read[name]}"
            )


def number_units(logic: Logic) -> dict[str, str]:
    """Findings that hold a number which the logic reads -> its unit.

    Example:
        >>> number_units(load_logic("bone_marrow"))
        {'blast_count': '1', 'nucleated_cell_count': '1', 'plasma_cell_count': '1'}
    """
    found = {}
    for concept in logic.concepts.values():
        if (measurement := concept.measurement) is not None:
            found[measurement.name] = measurement.unit
            if measurement.of is not None:
                found[measurement.of] = measurement.unit
    return found


def check_counts(logic: Logic | None, concepts: Iterable[str]) -> None:
    """Refuse a number of things, such as boxes, under the name of another number.

    Raises:
        ValueError: the name of a share of the field, a length, a ratio.

    Example:
        >>> check_counts(load_logic("peripheral_smear"), ["leukocyte_count", "leukocyte"])
        >>> check_counts(load_logic("peripheral_smear"), ["red_cell_cover"])
        Traceback (most recent call last):
        ...
        ValueError: concepts: red_cell_cover of peripheral_smear is no number of things, which is what boxes give
    """
    if logic is None:
        return
    counted = set()
    for concept in logic.concepts.values():
        if (read := concept.measurement) is not None and (read.count or read.of or read.min_images > 1):
            counted |= {read.name, read.of}
    for name in concepts:
        if name in number_units(logic) and name not in counted:
            raise ValueError(
                f"concepts: {name} of {logic.domain} is no number of things, which is what boxes give"
            )


def _known(logic: Logic, where: str, name: str, own_names: bool) -> bool:
    """Whether the logic reads findings of this name; one that it does not read must be meant."""
    names = used_findings(logic)
    if name not in names and not own_names:
        told = hint(name, names)
        raise ValueError(f"{where}: {logic.domain} has no concept {name!r}. {told} Correct it, {OWN}")
    return name in names
