import msgspec
import pytest

from adapters.chat_request import Members
from adapters.prompt import prompt_of
from adapters.unsupported import Cannot
from contracts.errors import InvalidField, UnsupportedParameter

pytestmark = pytest.mark.req("RUN-2")


def read(prompt: object) -> str:
    members = {} if prompt is ... else {"prompt": msgspec.Raw(msgspec.json.encode(prompt))}
    return prompt_of(Members(members, {}), Cannot("mine", "drop"))


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_one_text_is_read(prompt: object) -> None:
    assert read(prompt) == "Once"


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1, 2]], [[1], [2]], [5]])
def test_several_texts_and_tokens_are_refused(prompt: object) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        read(prompt)
    assert raised.value.param == "prompt"


@pytest.mark.parametrize("prompt", [..., None, "", [], [""], 5, {"a": 1}])
def test_no_text_is_the_clients_mistake(prompt: object) -> None:
    with pytest.raises(InvalidField) as raised:
        read(prompt)
    assert raised.value.param == "prompt"
