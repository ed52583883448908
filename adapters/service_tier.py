"""The tier of service that an answer was given in, in OpenAI's words. Pure."""


def openai_tier(told: str | None) -> str | None:
    """What others call "standard" is "default" there. A tier of another name keeps it."""
    return "default" if told == "standard" else told
