"""The configuration as it may be shown: without its secrets."""

from msgspec.structs import replace

from contracts.config import Config, Secret
from gateway.secrets import MASK
from gateway.settings import RecordsSpec


def masked(config: Config, records: RecordsSpec | None) -> Config:
    """The configuration with `***` for every secret; where a secret's file lies may be shown."""
    keys = [replace(key, token=_mask(key.token)) for key in config.auth.keys]
    adapter = config.adapter and replace(config.adapter, api_key=_mask(config.adapter.api_key))
    shown = config.records
    if isinstance(shown, str):
        shown = records.database.shown if records else MASK
    elif shown is not None and isinstance(shown.url, str):
        shown = replace(shown, url=records.database.shown if records else MASK)
    telemetry = config.telemetry
    if telemetry is not None:
        headers = {n: MASK if isinstance(v, str) else v for n, v in telemetry.headers.items()}
        telemetry = replace(telemetry, headers=headers)
    return replace(
        config,
        auth=replace(config.auth, token=_mask(config.auth.token), keys=keys),
        telemetry=telemetry,
        adapter=adapter,
        pools=[replace(pool, api_key=_mask(pool.api_key)) for pool in config.pools],
        records=shown,
    )


def _mask(secret: Secret | None) -> Secret | None:
    return MASK if isinstance(secret, str) else secret
