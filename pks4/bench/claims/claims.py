"""Claims as data: what a paper says, which numbers test it, and what would decide it.

A claim has a few tests. Each is of one of a closed set of kinds, with its bound and the reason for
it; nothing in a file is run as code. `judge.py` judges claims by records. The kinds:

* structure: how an exact number depends on T: affine or quadratic, without a fit
* growth: the power p of a time that grows as a + b T^p
* ratio: one contestant's number over another's
* recipe: a weighted sum of numbers over another, such as the compute of two whole trainings
* difference: of accuracies, paired by clip and seed
* convergence: the share of the best accuracy that is reached by an epoch
* bound: a number itself
* not_testable: what this project cannot measure, and why
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pks4.bench.plan.settings import Loc, Name, Table, parse, problem, text_of
from pks4.errors import UserError

Text = Annotated[str, Field(min_length=1)]
Frames = Annotated[int, Field(ge=1)]
Labels = Annotated[list[str], Field(min_length=1)]


class Test(Table):
    """What all kinds share: a name, why the bound is what it is, and which records count."""

    __test__ = False  # pytest must not collect it

    name: Text
    reason: Text
    judged: bool = True  # otherwise it is shown with the verdict and has no part in it
    suite: str | None = None
    grid: str | None = None
    scale: str | None = None
    task: str | None = None
    # contestant -> options that its records must have, such as its place in the backbone
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Structure(Test):
    """An exact number of a contestant is this polynomial in T, at `least_frames` T or more."""

    kind: Literal["structure"]
    metric: str
    contestant: str
    expects: Literal["affine", "quadratic"]
    least_frames: Annotated[int, Field(ge=3)] = 4


class Growth(Test):
    """The samples of a time grow with a power of T of at most `at_most`.

    `control` is for a baseline that is linear in T by construction, timed in the same rounds: where
    its times grow beyond the bound too, the machine's times prove nothing and there is no verdict.
    """

    kind: Literal["growth"]
    metric: str
    contestant: str
    at_most: Annotated[float, Field(gt=0)]
    control: str = ""  # metric whose records hold the baseline's samples; none: no control


class Ratio(Test):
    """The number of each of these contestants is at least `at_least` times another's."""

    kind: Literal["ratio"]
    metric: str
    of: Labels
    over: str
    frames: Frames | None = None  # none: the most that all have
    at_least: Annotated[float, Field(gt=0)]
    contradicted_below: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> "Ratio":
        if self.contradicted_below > self.at_least:
            raise ValueError("contradicted_below is above at_least; both cannot hold")
        return self


class Term(Table):
    """`times` a number of a contestant at T."""

    contestant: str
    metric: str
    frames: Frames
    times: Annotated[float, Field(gt=0)]


class Published(Table):
    """The same ratio from published inputs, shown with ours."""

    ratio: float
    source: Text


class ComputeRatio(Test):
    """A sum of terms over another lies between two bounds."""

    kind: Literal["recipe"]
    of: Annotated[list[Term], Field(min_length=1)]
    over: Annotated[list[Term], Field(min_length=1)]
    between: Annotated[list[float], Field(min_length=2, max_length=2)]
    published: Published | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "ComputeRatio":
        if self.between[0] >= self.between[1]:
            raise ValueError("between must be a lower and a higher bound")
        return self


class Difference(Test):
    """A contestant's accuracy minus that of each of the others is above a margin."""

    kind: Literal["difference"]
    metric: str
    contestant: str
    others: Labels
    frames: Frames | None = None
    above: float


class Convergence(Test):
    """By this epoch a contestant reached this share of its best."""

    kind: Literal["convergence"]
    metric: str = "val_top1_best"
    contestant: str
    epoch: Annotated[int, Field(ge=1)]
    least_epochs: Annotated[int, Field(ge=2)]  # that the curve must have, to know what came after
    share: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _longer(self) -> "Convergence":
        if self.least_epochs <= self.epoch:
            raise ValueError("least_epochs must be above epoch: what came after must be known")
        return self


class Bound(Test):
    """Every number of a contestant is at most, or at least, this."""

    kind: Literal["bound"]
    metric: str
    contestant: str
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Bound":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give at_most or at_least, one of them")
        return self


class NotTestable(Test):
    """A part that no measure of this project can decide; the reason says why."""

    kind: Literal["not_testable"]


KINDS: dict[str, type[Test]] = {
    "structure": Structure,
    "growth": Growth,
    "ratio": Ratio,
    "recipe": ComputeRatio,
    "difference": Difference,
    "convergence": Convergence,
    "bound": Bound,
    "not_testable": NotTestable,
}
AnyTest = Annotated[
    Structure | Growth | Ratio | ComputeRatio | Difference | Convergence | Bound | NotTestable,
    Field(discriminator="kind"),
]


class Claim(Table):
    """One claim: what is said, at what scale it is tested, what decides it, what to keep in mind.

    `combine`: "all" tests must hold, and one that fails contradicts; "readings": each test is a
    reading of the claim, and it is decided only where they agree.
    """

    id: Name
    title: Text
    says: Text
    scale: Text
    supported_when: Text
    contradicted_when: Text
    measured_by: Labels  # commands that give the evidence
    combine: Literal["all", "readings"] = "all"
    caveats: list[str] = Field(default_factory=list)
    tests: Annotated[list[AnyTest], Field(min_length=1)]


class Claims(Table):
    """A file of claims."""

    title: Text
    source: Text
    claims: Annotated[list[Claim], Field(min_length=1)]


def read_claims(path: Path) -> Claims:
    """The claims in a TOML file. Raises UserError, one line, with the key and the near name."""
    data = parse(text_of(path), path)
    try:
        stated = Claims.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path}: {problem(error, data, _fields, KINDS)}") from error
    ids = [claim.id for claim in stated.claims]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise UserError(f"{path}: claim {sorted(twice)[0]!r} is there twice; rename one")
    return stated


def _fields(loc: Loc) -> list[str]:
    """The keys that are known where an unknown one was."""
    owner: type[Table] = Claims
    if len(loc) > 2:
        owner = Claim
    kind = next((KINDS[part] for part in loc if part in KINDS), None)
    if kind is not None:
        owner = Term if {"of", "over"} & set(loc[:-1]) else kind
        owner = Published if "published" in loc[:-1] else owner
    return list(owner.model_fields)
