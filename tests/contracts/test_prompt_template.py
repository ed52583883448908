import msgspec
import pytest

from contracts.prompt_template import TEMPLATES, PromptTemplate

pytestmark = pytest.mark.req("RUN-2")
GOOD = {"user": "U{text}", "assistant": "A{text}", "reply": ""}


def test_a_template_is_read() -> None:
    assert msgspec.convert(GOOD, PromptTemplate).system is None


@pytest.mark.parametrize(
    "wrong", [{"user": "U"}, {"assistant": "{Text}"}, {"system": ""}, {"prefix": "x"}]
)
def test_a_role_without_a_place_for_its_text_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**GOOD, **wrong}, PromptTemplate)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_those_with_names_obey_the_same_rules(template: PromptTemplate) -> None:
    assert msgspec.convert(msgspec.to_builtins(template), PromptTemplate) == template
