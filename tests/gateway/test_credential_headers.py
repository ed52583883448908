"""Headers that hold a credential are told from those that rules match on, by name."""

import pytest

from gateway.credential_headers import KEPT_NAMES, SHOWN_AS

pytestmark = pytest.mark.req("SEC-3")

HIDDEN = """
authorization proxy-authorization x-forwarded-authorization x-serverless-authorization authentication-token
api-key x-api-key apikey x-apikey x_api_key x-goog-api-key openai-api-key anthropic-api-key x-portkey-api-key
ocp-apim-subscription-key x-functions-key x-access-key x-private-key x-user-key x-litellm-key x-virtual-key key x-key
x-auth x-auth-key x-auth-token x-authtoken x-access-token x-amz-security-token x-session-token private-token
x-csrf-token x-vault-token token x-auth-request-access-token cf-access-token
x-client-secret cf-access-client-secret secret x-shared-secret password x-password x-user-passwd
x-credential x-credentials cookie cookie2 x-original-cookie signature x-hub-signature-256 x-signature-ed25519
x-goog-iap-jwt-assertion cf-access-jwt-assertion x-amzn-oidc-data x-amzn-oidc-accesstoken dpop
"""
SHOWN = """
x-session-id x-session-affinity idempotency-key x-idempotency-key prompt-cache-key x-cache-key x-routing-key
x-partition-key sec-websocket-key x-request-id x-correlation-id traceparent tracestate baggage
x-setpoint-intent x-setpoint-priority x-setpoint-deadline-ms x-llm-d-slo-ttft-ms x-llm-d-inference-fairness-id
x-forwarded-for x-forwarded-user x-forwarded-client-cert x-auth-request-email x-auth-request-groups x-auth-user
x-goog-authenticated-user-email x-goog-user-project openai-organization openai-project anthropic-version
anthropic-beta x-stainless-retry-count x-max-tokens x-token-budget x-token-count x-team x-tenant x-author
x-keyword x-monkey host accept content-type content-length user-agent expect forwarded via
"""


@pytest.mark.parametrize("name", HIDDEN.split())
def test_a_credential_is_shown_to_nobody_however_it_is_spelled(name: str) -> None:
    assert SHOWN_AS[name] is SHOWN_AS[name.title()] is SHOWN_AS[name.upper()] is None


@pytest.mark.parametrize("name", SHOWN.split())
def test_what_rules_match_on_is_shown_in_small_letters(name: str) -> None:
    assert SHOWN_AS[name] == SHOWN_AS[name.title()] == name


def test_names_that_clients_make_up_are_not_all_remembered() -> None:
    for number in range(2 * KEPT_NAMES):
        assert SHOWN_AS[f"x-made-up-{number}"]
        assert len(SHOWN_AS) <= KEPT_NAMES
