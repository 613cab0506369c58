"""What a curriculum is made of: a table, its attributes, and parts of growing difficulty."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlmalign.clinical.lexicon import words
from vlmalign.records.manifest import DataUse

Texts = tuple[str, ...]
Form = Literal["present", "list", "value", "number", "band"]
FORMS: dict[str, tuple[Form, ...]] = {
    "listed": ("present", "list"),
    "category": ("present", "value"),
    "number": ("present", "number", "band"),
}
#: wording where a question gives none: what is asked, and the answers by name
WORDING: dict[Form, dict[str, Texts]] = {
    "present": {
        "ask": ("Is this seen: {{ item }}?", "Does this hold: {{ item }}?"),
        "yes": ("Yes, {{ item }}.", "Yes, this holds: {{ item }}."),
        "no": ("No, not {{ item }}.", "No, this does not hold: {{ item }}."),
    },
    "list": {
        "ask": ("Which {{ name }} are seen?", "Name the {{ name }} of this image."),
        "answer": ("These are seen: {{ items }}.", "The image shows {{ items }}."),
        "none": ("None is seen.", "The image shows none of them."),
    },
    "value": {
        "ask": ("What is the {{ name }}?", "Name the {{ name }} of this image."),
        "answer": ("The {{ name }} is {{ value }}.", "It is {{ value }}."),
    },
    "number": {
        "ask": ("What is the {{ name }}, in {{ unit }}?", "Give the {{ name }} in {{ unit }}."),
        "answer": ("The {{ name }} is {{ number }} {{ unit }}.", "It is {{ number }} {{ unit }}."),
    },
    "band": {
        "ask": ("How is the {{ name }}?", "In which range is the {{ name }}?"),
        "answer": ("The {{ name }} is {{ value }}.", "It is {{ value }}."),
    },
}


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Table(_Settings):
    """A csv file with one line per image."""

    path: str = Field(min_length=1, description="csv file with a header")
    images: str = Field(min_length=1, description="folder that the image paths start from")
    image: str = Field("image", description="column of the image's path")
    group: str | None = Field(None, description="column of the patient; absent: each image is a group of its own")
    key_file: str | None = Field(
        None, description="file with the secret of the pseudonyms; kept outside the datasets, needed with group"
    )
    split: str | None = Field(None, description="column with train, validation or test; absent: all train")
    modality: str = Field("unknown", description="of the images, e.g. oct, fundus")
    data_use: DataUse = Field("open", description="where the data may be sent")

    @model_validator(mode="after")
    def _groups_have_a_key(self) -> Table:
        if (self.group is None) != (self.key_file is None):
            raise ValueError(
                f"group is {self.group!r} and key_file {self.key_file!r}: patients are told apart by keyed "
                "pseudonyms, so give both or neither"
            )
        return self


class Listed(_Settings):
    """What is present in an image, as a list in one cell."""

    kind: Literal["listed"]
    column: str
    items: dict[str, str] = Field(min_length=1, description="name in the cell -> how it is said")
    separator: str = Field(";", min_length=1)
    empty: Literal["missing", "none"] = Field("missing", description="what an empty cell means")
    absent_column: str | None = Field(
        None, description="column that lists what was looked for and not found; absent: all other items"
    )
    name: str | None = Field(None, description="how it is called, e.g. biomarkers; default: the attribute's key")


class Category(_Settings):
    """One of some values."""

    kind: Literal["category"]
    column: str
    values: dict[str, str] = Field(min_length=2, description="name in the cell -> how it is said")
    name: str | None = Field(None, description="how it is called; default: the attribute's key")


class NumberBand(_Settings):
    """Numbers below `below`, and not below the band before."""

    name: str
    below: float | None = Field(None, description="absent in the last band")


class Number(_Settings):
    """A number with its unit, and the bands that group it."""

    kind: Literal["number"]
    column: str
    unit: str
    decimals: int = Field(0, ge=0, le=6)
    bands: tuple[NumberBand, ...] = ()
    name: str | None = Field(None, description="how it is called; default: the attribute's key")

    @model_validator(mode="after")
    def _bands_rise(self) -> Number:
        edges = [band.below for band in self.bands]
        closed = [edge for edge in edges[:-1] if edge is not None]
        if self.bands and (edges[-1] is not None or len(closed) < len(edges) - 1 or closed != sorted(set(closed))):
            raise ValueError(f"bands end at {edges}: give rising edges, and none in the last band")
        return self

    def band(self, number: float) -> str:
        """The band of a number."""
        return next(band.name for band in self.bands if band.below is None or number < band.below)


Attribute = Annotated[Listed | Category | Number, Field(discriminator="kind")]


class TableQuestion(_Settings):
    """One kind of question about one attribute.

    `present` asks yes or no of each item, value or band, as often with the answer yes as with no; `list` for all
    that is present; `value`, `number`, `band` for what the cell says. Texts are Jinja2 templates: a question may
    use `name`, `unit` and `options`, and with `present` `item`; an answer also `items`, `value`, `number`.
    """

    attribute: str
    form: Form
    ask: Texts = ()
    yes: Texts = ()
    no: Texts = ()
    answer: Texts = ()
    none: Texts = ()

    def wording(self, role: str) -> Texts:
        """Its templates for `ask`, `yes`, `no`, `answer` or `none`: its own, or the usual ones."""
        own: Texts = getattr(self, role)
        return own or WORDING[self.form].get(role, ())

    @model_validator(mode="after")
    def _wording_fits(self) -> TableQuestion:
        used = WORDING[self.form]
        for role in ("ask", "yes", "no", "answer", "none"):
            if getattr(self, role) and role not in used:
                raise ValueError(f"form {self.form!r} has no {role!r}: use {list(used)}")
            for text in getattr(self, role):
                try:
                    compiled(text)
                except jinja2.TemplateSyntaxError as error:
                    raise ValueError(f"{role} {text!r}: {error.message}") from None
        return self


class LogicPart(_Settings):
    """Reports and conversations of a clinical logic, about cases whose findings or reports are known."""

    logic: str
    cases: str
    kinds: tuple[Literal["report", "conversation"], ...] = ("report", "conversation")
    findings: Literal["reference", "reports"] = Field("reference", description="where the answers come from")
    orders: dict[str, float] | None = None
    conversations_per_case: int = Field(1, ge=1)


class CurriculumPart(_Settings):
    """One part: questions about the table, a clinical logic's reports and conversations, or a folder as it is."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="also of its folder")
    about: str = ""
    questions: tuple[TableQuestion, ...] = ()
    logic: LogicPart | None = None
    demonstrations: str | None = Field(
        None, description="a folder of demonstrations to take over: verified rewrites, or written questions"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> CurriculumPart:
        if bool(self.questions) + (self.logic is not None) + (self.demonstrations is not None) != 1:
            raise ValueError(f"part {self.name!r} must have exactly one of questions, logic and demonstrations")
        return self


class CurriculumConfig(_Settings):
    """A whole curriculum; its parts in the order in which they are learnt."""

    table: Table | None = None
    attributes: dict[str, Attribute] = Field(default_factory=dict)
    parts: tuple[CurriculumPart, ...] = Field(min_length=1)
    seed: int = Field(0, ge=0, description="of wording, and of what is left out for balance")

    @model_validator(mode="after")
    def _parts_fit(self) -> CurriculumConfig:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError(f"parts are called {names}: each needs a name of its own")
        for part in self.parts:
            for question in part.questions:
                self._check_question(part.name, question)
        return self

    def _check_question(self, part: str, question: TableQuestion) -> None:
        where = f"part {part!r}, question about {question.attribute!r}"
        if self.table is None:
            raise ValueError(f"{where}: there is no table. Give `table` and `attributes`.")
        attribute = self.attributes.get(question.attribute)
        if attribute is None:
            raise ValueError(f"{where}: no such attribute; there are {list(self.attributes)}")
        if question.form not in FORMS[attribute.kind]:
            raise ValueError(f"{where}: a {attribute.kind} has the forms {FORMS[attribute.kind]}")
        options = option_texts(attribute)
        if question.form == "band" or question.form == "present" and attribute.kind == "number":
            if not options:
                raise ValueError(f"{where}: form {question.form!r} needs the attribute's bands")
        given = {"name": attribute.name or question.attribute, "unit": getattr(attribute, "unit", "")}
        given["options"] = ", ".join(options.values())
        for text in question.wording("ask"):
            asked = render(text, {**given, "item": "ITEM"} if question.form == "present" else given, where)
            told = [option for option in options.values() if _says(asked, option)]
            if question.form != "present" and told and len(told) < len(options):
                raise ValueError(
                    f"{where}: {text!r} gives the answer away: it names {told[0]!r} and not all options"
                )


def option_texts(attribute: Listed | Category | Number) -> dict[str, str]:
    """All items, values or bands of an attribute, name -> how it is said."""
    if isinstance(attribute, Listed):
        return dict(attribute.items)
    if isinstance(attribute, Category):
        return dict(attribute.values)
    return {band.name: band.name for band in attribute.bands}


@cache
def compiled(text: str) -> jinja2.Template:
    """A template of the configuration; it may use the given values alone."""
    return SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(text)


def render(text: str, values: dict[str, Any], where: str) -> str:
    """A template with its values.

    Raises:
        ValueError: a value that it does not have.

    Example:
        >>> render("Is there {{ item }}?", {"item": "fluid"}, "a question")
        'Is there fluid?'
        >>> render("Is it {{ value }}?", {"item": "fluid"}, "a question")
        Traceback (most recent call last):
        ...
        ValueError: a question: 'Is it {{ value }}?': 'value' is undefined. It may use: item.
    """
    try:
        return compiled(text).render(values)
    except jinja2.TemplateError as error:
        raise ValueError(f"{where}: {text!r}: {error}. It may use: {', '.join(sorted(values))}.") from None


def _says(text: str, phrase: str) -> bool:
    said, wanted = words(text), words(phrase)
    return bool(wanted) and any(said[k : k + len(wanted)] == wanted for k in range(len(said)))
