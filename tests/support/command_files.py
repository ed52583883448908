"""Files that commands are given."""

from pathlib import Path

from tests.fakes.edge import chat_body


def config(folder: Path, text: str) -> str:
    file = folder / "setpoint.yaml"
    file.write_text(text)
    return str(file)


def body_file(folder: Path, **members: object) -> str:
    file = folder / "request.json"
    file.write_bytes(chat_body(**{"model": "assistant", **members}))
    return str(file)
