"""What the policy behind a server is asked for: the kind that the settings name, nothing of the reference."""

from medprm.annotation.rollouts import Drawing
from medprm.annotation.server_policy import ASKED_FOR, ServerPolicy
from medprm.cases.schema import Case, GoldStandard
from medprm.cases.settings import KINDS
from medprm.clients.chat import ChatReply, ChatRequest, Choice, Message


class Scripted:
    """A client that keeps what it was asked."""

    model = "model"

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    def ask(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        return ChatReply((Choice("The answer is left.", "stop"),) * request.num_answers, "model-1")


def asked(kind: str, gold: GoldStandard | None) -> tuple[Message, ...]:
    client, case = Scripted(), Case(case_id="a", modality="text", question="Which?", gold_standard=gold)
    ServerPolicy(client, Drawing(0.7, 160), answer_kind=kind).draw(case, [("One.",)], 4, 0)
    return client.asked[0].messages


def test_the_prompt_is_of_the_setting_and_never_of_the_reference() -> None:
    references = (None, GoldStandard(answer="12"), GoldStandard(answer="yes"), GoldStandard(icd10="J18.9"))
    for kind in ("auto", *KINDS):
        assert len({asked(kind, gold) for gold in references}) == 1
        assert ASKED_FOR[kind] in asked(kind, None)[0].text
    assert len({asked(kind, None) for kind in ("auto", *KINDS)}) == 1 + len(KINDS)
