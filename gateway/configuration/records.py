"""Where records are kept, and who cannot do without them."""

from contracts import problems
from contracts.config import Config, Records
from gateway.configuration.findings import Findings
from gateway.configuration.secret_values import read_secret_file
from gateway.records import database_url
from gateway.settings import RecordsSpec

LEAST_BYTES = 2**20


def records_of(findings: Findings, config: Config) -> RecordsSpec | None:
    """None where none are wanted, and where something is wrong (then with a problem)."""
    if config.records is None:
        if config.tasks.durable:
            message = "durable tasks are kept in the records database, and there is none"
            hint = "add records: sqlite:///var/setpoint.db"
            known = findings.sure((), "records") and findings.sure(("tasks",), "durable")
            findings.note(("tasks", "durable"), message, hint, sure=known)
        return None
    if isinstance(config.records, str):
        path: problems.Path = ("records",)
        given = Records(url=config.records)
    else:
        path, given = ("records", "url"), config.records
    if given.max_size < LEAST_BYTES:
        message = (
            "keeps next to nothing: a record takes 1 to 2 KiB, and with bodies up to several MiB"
        )
        findings.note(("records", "max_size"), message, "1MiB or more")
    url = given.url if isinstance(given.url, str) else read_secret_file(findings, given.url, path)
    if url is None:
        return None
    try:
        database = database_url.parse(url, findings.base_dir)
    except ValueError as exc:
        findings.note(path, str(exc))
        return None
    return RecordsSpec(
        database=database,
        bodies=given.bodies,
        keep_s=float(given.keep),
        max_bytes=int(given.max_size),
        spill=findings.base_dir / given.spill,
    )
