"""What loading modules does beside, and is left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Authority

CODE = """
import gc, json, ssl
from gateway.importing import importing
with importing():
    quiet = not gc.isenabled()
    import aiohttp.connector
told = {
    "quiet": quiet,
    "searched again": gc.isenabled(),
    "frozen": gc.get_freeze_count() > 1000,
    "aiohttp trusts": [
        aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"],
        aiohttp.connector._SSL_CONTEXT_UNVERIFIED.cert_store_stats()["x509"],
    ],
    "aiohttp verifies": aiohttp.connector._SSL_CONTEXT_VERIFIED.verify_mode == ssl.CERT_REQUIRED,
    "others trust": ssl.create_default_context().cert_store_stats()["x509"],
}
print(json.dumps(told))
"""


@pytest.mark.req("OPS-4")
def test_no_garbage_is_searched_and_no_certificates_are_read(tmp_path: Path) -> None:
    machine = {"SSL_CERT_FILE": str(Authority(tmp_path).certificate), "SSL_CERT_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, **machine, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == {
        "quiet": True,
        "searched again": True,
        "frozen": True,
        "aiohttp trusts": [0, 0],
        "aiohttp verifies": True,
        "others trust": 1,
    }
