"""Which task a prompt belongs to: by what it asks, or by the state that a model has of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

Routing = Literal["none", "question", "learned"]


class TaskRouter(nn.Module):
    """The outer gate of a mixture: one task for each prompt (DMoERM, Quan 2024, arXiv:2403.01197, section 3).

    `none`: there is one task. `question`: the first pattern that is found in the prompt's last question, upper and
    lower case alike; `otherwise` where none is. `learned`: the largest of T linear scores of the prompt's state.

    Args:
        tasks: names, T.
        by: how.
        width: H, of a prompt's state; for `learned`.
        patterns: of `question`: task -> regular expression, tried in order.
        otherwise: of `question`: the task of all other prompts; None: they have no task.

    Raises:
        ValueError: names, patterns or a width that do not fit, or a pattern that is no regular expression.

    Example:
        >>> router = TaskRouter(["count", "report"], by="question", patterns={"count": "how many"},
        ...                     otherwise="report")
        >>> router.route(torch.zeros(2, 4), ["How many platelets are seen?", "Describe the field."])
        [0, 1]
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        tasks: Sequence[str] = ("all",),
        *,
        by: Routing = "none",
        width: int = 0,
        patterns: Mapping[str, str] | None = None,
        otherwise: str | None = None,
    ) -> None:
        super().__init__()
        self.tasks, self.by, self.otherwise = tuple(tasks), by, otherwise
        self.patterns = dict(patterns or {})
        self._check(width)
        self._compiled = [(self.tasks.index(name), _compiled(name, text)) for name, text in self.patterns.items()]
        size = (len(self.tasks), width) if by == "learned" else (0, 0)
        self.register_buffer("weight", torch.zeros(size))
        self.register_buffer("bias", torch.zeros(size[0]))

    def _check(self, width: int) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks is {list(self.tasks)}, expected one or more different names: correct it.")
        if self.by == "none" and len(self.tasks) != 1:
            raise ValueError(f"{len(self.tasks)} tasks and no rule that chooses one: give `by`, or one task.")
        if (self.by == "question") != bool(self.patterns):
            raise ValueError(
                f"by is {self.by!r} and patterns has {len(self.patterns)} entries: give both, or none."
            )
        if self.by == "learned" and width < 1:
            raise ValueError(f"by is 'learned' and width is {width}, expected that of a prompt's state: give it.")
        for name in (*self.patterns, *([self.otherwise] if self.otherwise is not None else [])):
            if name not in self.tasks:
                raise ValueError(f"task {name!r} is not one of {list(self.tasks)}: add it, or correct the name.")

    def route(self, states: Tensor, questions: Sequence[str]) -> list[int | None]:
        """The place of each prompt's task in `tasks`; None where no rule names one.

        Args:
            states: of the prompts, (N, H); looked at by `learned` only.
            questions: last user turn of each, N; looked at by `question` only.
        """
        if self.by == "none":
            return [0] * len(questions)
        if self.by == "learned":
            return (states.float() @ self.weight.T + self.bias).argmax(1).tolist()
        rest = None if self.otherwise is None else self.tasks.index(self.otherwise)
        return [
            next((task for task, pattern in self._compiled if pattern.search(question)), rest)
            for question in questions
        ]

    def settings(self) -> dict[str, Any]:
        """What `TaskRouter(**settings)` needs beside the width, as JSON has it."""
        return {
            "tasks": list(self.tasks),
            "by": self.by,
            "patterns": self.patterns,
            "otherwise": self.otherwise,
        }


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"the pattern of task {name!r} is {pattern!r} ({error}): correct it.") from None
