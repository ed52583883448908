"""Who can reach the gateway, and who is taken at their word."""

from pathlib import Path

import pytest

from tests.support.configured import load_text, problems


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    "bind", ["0.0.0.0:80", "[::]:80", "192.168.1.2:80", "myhost:80", "127.1:80"]
)
def test_another_address_needs_a_token(tmp_path: Path, bind: str) -> None:
    (problem,) = problems(tmp_path, f"bind_addr: '{bind}'\n")
    assert problem == (
        "1:12: bind_addr: this address can be reached from elsewhere, and no token protects it"
        " (set auth.token or auth.keys, or bind to 127.0.0.1)"
    )
    for auth in ("token: abc", "keys: [{name: a, token: abc}]", "optional: true, token: abc"):
        load_text(tmp_path, f"bind_addr: '{bind}'\nauth: {{{auth}}}\n")
    assert problems(tmp_path, f"bind_addr: '{bind}'\nauth: {{optional: true}}\n")
    assert problems(tmp_path, f"bind_addr: '{bind}'\nauth: {{trust_proxy_auth: true}}\n")


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "localhost:1", "[::1]:65535", "127.8.9.1:80"])
def test_loopback_needs_none(tmp_path: Path, bind: str) -> None:
    loaded = load_text(tmp_path, f"bind_addr: '{bind}'\n")
    assert f"{loaded.host}:{loaded.port}" == bind.replace("[", "").replace("]", "")


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bind_addr: 127.0.0.1:70000", "1:12: bind_addr: the port 70000 is above 65535"),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.req("SEC-1", "SEC-2")
@pytest.mark.parametrize("bind", ["0.0.0.0:80", "[::]:80", "myhost:80"])
def test_beyond_loopback_the_trusted_proxies_are_named(tmp_path: Path, bind: str) -> None:
    text = f"bind_addr: '{bind}'\nauth: {{token: abc, trust_proxy_auth: true%s}}\n"
    (problem,) = problems(tmp_path, text % "")
    assert problem == (
        "2:38: auth.trust_proxy_auth: this address can be reached from elsewhere, and nothing says "
        "which proxies there are trusted (list their addresses in auth.trusted_proxies, or bind to "
        "127.0.0.1)"
    )
    loaded = load_text(tmp_path, text % ", trusted_proxies: [10.0.0.7, 'fd00::/64']")
    assert [str(proxy) for proxy in loaded.proxies] == ["10.0.0.7/32", "fd00::/64"]


@pytest.mark.req("SEC-1", "SEC-2")
def test_naming_proxies_does_not_replace_a_token(tmp_path: Path) -> None:
    proxies = "auth: {trust_proxy_auth: true, trusted_proxies: [10.0.0.7]}\n"
    (problem,) = problems(tmp_path, f"bind_addr: 0.0.0.0:80\n{proxies}")
    assert "no token protects it" in problem


@pytest.mark.req("SEC-2")
def test_on_loopback_only_a_proxy_on_this_machine_is_trusted(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "auth: {trust_proxy_auth: true}\n")
    assert [str(proxy) for proxy in loaded.proxies] == ["127.0.0.0/8", "::1/128"]


@pytest.mark.req("SEC-2", "SEC-4")
@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ("trust_proxy_auth: true, trusted_proxies: []", "trusted_proxies: a proxy is trusted, and"),
        ("trusted_proxies: [proxy.example.com]", "trusted_proxies[0]: not an address, and not"),
        (
            "trusted_proxies: [10.0.0.7, 10.0.0.7/24]",
            "trusted_proxies[1]: an address within a netw",
        ),
        ("trusted_proxies: [0.0.0.0/0]", "trusted_proxies[0]: this is every address"),
        ("trusted_proxies: ['::/0']", "trusted_proxies[0]: this is every address"),
        ("trusted_proxies: ['::ffff:0.0.0.0/96']", "trusted_proxies[0]: this is every address"),
        ("trusted_proxies: 10.0.0.7", "trusted_proxies: "),
        ("proxy_user_header: 'x-user: y'", "proxy_user_header: "),
        ("optional: true, trust_proxy_auth: true", "optional: whoever comes through the proxy on"),
        (
            "optional: true, trust_proxy_auth: true, trusted_proxies: [10.0.0.7, 127.0.0.2]",
            "optional: whoever comes through the proxy on",
        ),
        (
            "keys: [{name: operator, token: x1}]",
            "keys[0].name: this is what the holder of auth.token",
        ),
    ],
)
def test_an_auth_that_would_let_the_wrong_ones_in_does_not_start(
    tmp_path: Path, auth: str, said: str
) -> None:
    (problem,) = problems(tmp_path, f"auth: {{token: abc, {auth}}}\n")
    assert f": auth.{said}" in problem


@pytest.mark.req("SEC-2")
def test_who_may_skip_the_token_may_have_a_proxy_elsewhere(tmp_path: Path) -> None:
    load_text(
        tmp_path, "auth: {optional: true, trust_proxy_auth: true, trusted_proxies: [10.0.0.7]}\n"
    )
