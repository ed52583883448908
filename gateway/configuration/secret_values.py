"""Secrets, as they are written in the configuration or in a file that it names. No message carries one."""

from contracts import problems
from contracts.config import Secret, SecretFile
from gateway.configuration.findings import Findings
from gateway.secrets import SecretValue

SECRET_FILE_BYTES = 64 * 1024


def read_secret(
    findings: Findings, given: Secret | None, path: problems.Path, *, blanks: bool = False
) -> SecretValue | None:
    """None where none is wanted, and where it is wrong (then with a problem). `blanks`: it is a whole
    header, such as `Basic abc`."""
    if given is None:
        return None
    text: str | None = given if isinstance(given, str) else read_secret_file(findings, given, path)
    if text is None:
        return None
    if not text:
        findings.note(path, "empty", "leave the field out, or give it a value")
    elif not text.isascii() or not text.isprintable():
        findings.note(path, "a secret travels in a header: printable ASCII only")
    elif " " in text and not blanks:
        findings.note(path, "a secret travels in a header: printable ASCII without blanks only")
    else:
        return SecretValue(text)
    return None


def read_secret_file(findings: Findings, given: SecretFile, path: problems.Path) -> str | None:
    """Its text without blanks around it; None where there is none (then with a problem)."""
    path = (*path, "file")
    try:
        with (findings.base_dir / given.file).open("rb") as opened:
            raw = opened.read(SECRET_FILE_BYTES + 1)
    except ValueError:  # a NUL in it
        findings.note(path, "the secret file cannot be read: not a path", "the path of a file")
        return None
    except OSError as exc:
        # A name without a folder may be the secret itself, by mistake: it is not quoted.
        where = findings.base_dir / given.file if "/" in given.file else f"in {findings.base_dir}"
        reason = exc.strerror or "it cannot be opened"
        findings.note(
            path,
            f"the secret file cannot be read: {where}: {reason}",
            "the path of a file that the gateway may read, from the configuration's own folder",
        )
        return None
    if len(raw) > SECRET_FILE_BYTES:
        findings.note(path, f"the secret file has more than {SECRET_FILE_BYTES} bytes")
        return None
    text = raw.decode("utf-8", "replace").strip()
    if not text:
        findings.note(path, "the secret file is empty")
        return None
    return text
