"""The tests' own protocol. As a program: a run of judges in a process that can be killed."""

import sys
from pathlib import Path

from data_builders.judges import registry
from data_builders.judges.asking import JudgeRequest
from data_builders.judges.config import JudgeConfig
from data_builders.judges.running import run_judges
from vlmalign.records import Judgement, user


class OneNumber:
    """One question per answer and judge: a number from 0 to 10."""

    def __init__(self, about: str = "truth", ask_twice: bool = False):
        self.id = "one-number@1"
        self.about, self.ask_twice = about, ask_twice

    def request(self, item, answer):
        text = f"Grade the {self.about} of: {answer.messages[-1].text}"
        return JudgeRequest(
            (user(text, images=len(item.images)),), item.images, self.id, (answer.id,), max_tokens=64
        )

    async def judge(self, item, jury):
        found = []
        for name, ask in jury.items():
            for answer in item.answers:
                reply = await ask(self.request(item, answer))
                if self.ask_twice:
                    reply = await ask(self.request(item, answer))
                said = reply.text.strip()
                number = float(said) if reply.state == "answered" and said.isdigit() else None
                found.append(
                    Judgement(
                        id=f"{item.id}/{answer.id}/{name}",
                        case_id=item.case_id,
                        candidate_ids=(answer.id,),
                        criterion=self.about,
                        judge=f"{self.id}:{name}",
                        score=number,
                        valid=number is not None,
                        invalid_reason=None
                        if number is not None
                        else f"{reply.state}: {reply.reason or 'no number'}",
                    )  # fmt: skip
                )
        return found


if __name__ == "__main__":
    registry.PROTOCOLS["one-number"] = OneNumber
    run_judges(JudgeConfig.model_validate_json(Path(sys.argv[1]).read_text()))
