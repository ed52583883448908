"""What llm-d's endpoint picker counts, from the text of its metrics. Pure: text in, numbers out.

Only what Setpoint checks is read: how many requests flow control has seen of each priority. The text is
somebody else's and may be anything; a line that is not understood is passed over.
"""

import math
import re

REQUESTS = "flow_control_requests_total"
"""Labels `outcome`, `priority`, `inference_pool` (llm-d-router, `docs/metrics.md`)."""
PREFIXES = ("llm_d_epp_", "inference_extension_")
"""The name since router v0.9, and the one from before, under which newer ones count a second time."""
PRIORITIES_MAX = 256

_LABELS = r'\{((?:[^"}\n]|"(?:[^"\\\n]|\\.)*")*)\}'
_SAMPLES = {
    prefix: re.compile(rf"^{prefix}{REQUESTS}{_LABELS}[ \t]+(\S+)", re.MULTILINE)
    for prefix in PREFIXES
}
_PRIORITY = re.compile(r'(?:^|,)[ \t]*priority="(-?[0-9]{1,10})"')


def priorities_counted(exposition: bytes) -> dict[int, float] | None:
    """Requests by priority, over all outcomes and pools. None: nothing is counted by priority, so flow
    control is off, has seen no request yet, or this is no endpoint picker."""
    text = exposition.decode("utf-8", "replace")
    for prefix in PREFIXES:
        found: dict[int, float] = {}
        for labels, value in _SAMPLES[prefix].findall(text):
            priority = _PRIORITY.search(labels)
            count = _count(value)
            if priority is not None and count is not None:
                number = int(priority[1])
                if number in found or len(found) < PRIORITIES_MAX:
                    found[number] = found.get(number, 0.0) + count
        if found:
            return found
    return None


def _count(value: str) -> float | None:
    try:
        count = float(value)
    except ValueError:
        return None
    return count if math.isfinite(count) and count >= 0 else None
