"""What a reader study asks, of whom, and of how many cases: checked before anything is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmalign.records.base import Part

KAPPA_NEEDS = 30  # repeated readings; fewer leave kappa with an interval from poor to perfect agreement
Purpose = Literal["training", "evaluation"]
Select = Literal["all", "random", "stratified", "uncertain", "listed"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]
Criterion = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,29}$")]
RATINGS = ("correctness", "completeness", "conciseness")  # RetinaVLM (Holland et al. 2024)


class StudyPlan(Part):
    """The settings of a study.

    Two texts are shown side by side, or one alone; each rated for `criteria` from 1 (strongly disagree) to 5.

    Example:
        >>> StudyPlan(readers=("anna", "ben"), purpose="evaluation", preference=3).texts_per_item
        2
    """

    readers: tuple[Name, ...] = Field(min_length=1, description="names in the files; pseudonyms where wanted")
    purpose: Purpose = Field(description="what the answers are for: a case serves one of them only")
    title: str = "Reader study"
    instructions: str = ""
    texts_per_item: Literal[1, 2] = 2
    preference: Literal[0, 3, 5] = Field(3, description="steps of the preference question; 0: not asked")
    criteria: tuple[Criterion, ...] = Field((), description="rated from 1 to 5 for each text")
    mark_errors: bool = Field(False, description="readers mark wrong sentences as minor or major errors")
    comment: bool = True
    n_cases: int | None = Field(None, ge=1, description="how many cases; None: all that can be used")
    select: Select = "random"
    stratify: str | None = Field(None, description="domain, split, attributes.NAME or finding.CONCEPT")
    balance: Literal["proportional", "equal"] = Field("proportional", description="cases of each stratum")
    per_group: int = Field(1, ge=1, description="at most so many cases of one patient")
    compare: Literal["all_pairs", "with_first"] = Field("all_pairs", description="which arms meet")
    crossed: bool = Field(False, description="every reader reads a case in every comparison, a washout apart")
    washout_days: int = Field(28, ge=0, description="between two parts of a crossed study")
    readers_per_case: int | None = Field(None, ge=1, description="None: all; fewer are balanced blocks")
    repeats: int = Field(0, ge=0, description="cases that each reader reads a second time")
    kappa: bool = Field(False, description=f"intra-reader kappa is wanted: at least {KAPPA_NEEDS} repeats")
    guesses: int = Field(4, ge=0, description="at the end: items of which readers guess the arm; 0: none")
    guess_arm: Name | None = Field(None, description="which arm is guessed; default the human one, or the last")
    guess_question: str | None = Field(None, description="in words that do not tell an arm's name")
    max_pixels: int = Field(2048, ge=64, description="longest side of the images that readers get")
    seed: int = 0

    @model_validator(mode="after")
    def _makes_sense(self) -> StudyPlan:
        if len({name.lower() for name in self.readers}) != len(self.readers):
            raise ValueError("readers has a name twice: give each reader a name of their own")
        if len(set(self.criteria)) != len(self.criteria):
            raise ValueError("criteria has a name twice: name each once")
        if self.texts_per_item == 1 and self.preference:
            raise ValueError(
                f"preference is {self.preference} but one text is shown at a time: set preference to 0, or "
                "texts_per_item to 2"
            )
        if not (self.preference or self.criteria or self.mark_errors):
            raise ValueError("nothing is asked: set preference to 3, name criteria, or set mark_errors")
        if self.readers_per_case is not None and self.readers_per_case > len(self.readers):
            raise ValueError(
                f"readers_per_case is {self.readers_per_case} but there are {len(self.readers)} readers: name "
                "more readers, or lower it"
            )
        if (self.select == "stratified") != (self.stratify is not None):
            raise ValueError("select 'stratified' and stratify go together: give both or neither")
        if self.n_cases is not None and self.select in ("all", "listed"):
            raise ValueError(
                f"n_cases is {self.n_cases} but select is {self.select!r}, which reads them all: leave n_cases "
                "out, or set select to 'random'"
            )
        if self.kappa and self.repeats < KAPPA_NEEDS:
            raise ValueError(
                f"repeats is {self.repeats} but intra-reader kappa needs at least {KAPPA_NEEDS}: raise repeats, "
                "or set kappa to false and report the share that agrees"
            )
        return self
