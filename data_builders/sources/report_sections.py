"""A radiology report's sections, and the sentences in it that speak of an earlier study.

A sentence such as "unchanged since the prior" cannot be read from the pictures of one study: a model that is
taught it learns to invent comparisons. Here such sentences are found by their words, to be marked or dropped.
"""

from __future__ import annotations

import re

HEADING = re.compile(r"^[ \t]*(?P<name>[A-Z][A-Z ,/&()-]{2,60}?)[ \t]*:", re.MULTILINE)
END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z_\d(])")
_STUDY = r"(?:exam\w*|stud(?:y|ies)|radiograph\w*|films?|images?|imaging|ct|x-\w+|xrays?|chest|scans?|reports?)"
OF_EARLIER_STUDY = re.compile(
    r"^(?:improvement|resolution)\b|\b(?:"
    r"compar(?:ed|ing|able to)|(?<!no )(?<!for )comparison|"
    r"(?:since|from|than|as|similar to|relative to) (?:\w+ )?(?:priors?|previous(?:ly)?|earlier)"
    r"(?=\W*$|[,.;]| (?:and|with|XXXX)\b)|"
    rf"(?:prior|previous|earlier) (?:[\w/-]+ ){{0,2}}{_STUDY}|"
    r"(?:seen|noted) (?:previously|earlier)|previously "
    "(?:seen|noted|described|identified|demonstrated|visuali[sz]ed|reported)|"
    r"unchanged|stable|interval(?! (?:film|follow|radiograph))|(?:once )?again|since|new(?:ly)?|redemonstrat\w+|"
    r"re-demonstrat\w+|as before|no longer|still|now|persist(?:s|ent|ently|ing|ed)?|"
    r"remain(?:s|ed)?(?! (?:intact|in place))|improv(?:ed|ing)|(?:some|mild|marked|slight|significant) "
    "improvement|"
    r"worsen(?:ed|ing)|progress(?:ed|ion|ing|ive)|resolv(?:ed|ing)|(?:partial|complete|near) resolution|"
    r"(?:no|without|little|any|significant) (?:[a-z]+ )?change(?! of)|change[sd]? (?:from|since)"
    r")\b",
    re.IGNORECASE,
)


def report_sections(text: str) -> dict[str, str]:
    r"""Sections by heading in lower case, white space collapsed; texts of a heading that comes twice are joined.

    Example:
        >>> report_sections(" FINDINGS: \n Clear\n lungs.\n IMPRESSION:  Normal.")
        {'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    found: dict[str, str] = {}
    marks = list(HEADING.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = " ".join(text[mark.end() : following.start() if following else len(text)].split())
        name = mark["name"].strip().lower()
        if body:
            found[name] = f"{found[name]} {body}" if name in found else body
    return found


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; joined by spaces they are the text.

    Example:
        >>> sentences_of("No pneumothorax. The heart is 1.5 times wider.")
        ['No pneumothorax.', 'The heart is 1.5 times wider.']
    """
    return END_OF_SENTENCE.split(text) if text else []


def of_earlier_study(sentence: str) -> bool:
    """Whether a sentence speaks of an earlier study, judged by its words.

    Example:
        >>> [of_earlier_study(s) for s in ("The heart is enlarged.", "Effusion has resolved.", "No new opacity.")]
        [False, True, True]
    """
    return OF_EARLIER_STUDY.search(sentence) is not None


def without_comparisons(text: str) -> tuple[str, list[str]]:
    """The text without its sentences of an earlier study, and those sentences.

    Example:
        >>> without_comparisons("Heart size is normal. Effusion is unchanged.")
        ('Heart size is normal.', ['Effusion is unchanged.'])
    """
    sentences = sentences_of(text)
    dropped = [sentence for sentence in sentences if of_earlier_study(sentence)]
    return " ".join(sentence for sentence in sentences if sentence not in dropped), dropped
