from __future__ import annotations

import pytest

from sdwebui.api.request_rules import HostRule, SizeRule, header, refuse_cross_site, refuse_path, wants_page
from tests.api.http import http_scope


def test_a_loopback_server_answers_only_for_loopback_names():
    rule = HostRule.for_binding("127.0.0.1")
    assert all(rule.allows(name) for name in ("localhost", "LOCALHOST.", "127.0.0.1", "::1"))
    assert not any(rule.allows(name) for name in ("192.168.1.2", "example.org", "127.0.0.1.example.org", "", "."))


def test_a_server_on_all_interfaces_answers_for_every_address_but_not_for_every_name():
    for bind in ("0.0.0.0", "::"):  # noqa: S104 - the rule for such a binding, nothing is bound
        rule = HostRule.for_binding(bind, ["Pictures.Example", ""])
        assert all(rule.allows(name) for name in ("192.168.1.2", "fe80::1", "pictures.example", "localhost"))
        assert not rule.allows("evil.example")


def test_a_named_binding_answers_for_its_name():
    assert HostRule.for_binding("gpu.lan").allows("gpu.lan")
    assert HostRule.for_binding("[fd00::5]").allows("fd00::5")
    assert not HostRule.for_binding("192.168.1.2").allows("192.168.1.3")


def test_body_limits_differ_by_part():
    sizes = SizeRule()
    assert sizes.body_limit("/login", is_open=True) == 16 * 1024
    assert sizes.body_limit("/sdapi/v1/img2img", is_open=False) == 64 * 2**20
    assert sizes.body_limit("/gradio_api/upload", is_open=False) == 32 * 2**20


def test_headers_of_one_name_are_joined():
    scope = {"headers": [(b"Cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")]}
    assert header(scope, b"cookie") == "a=1, b=2"
    assert header(scope, b"none") is None


@pytest.mark.parametrize(
    "path",
    [
        "/a//b",
        "//",
        "/a/./b",
        "/a/../b",
        "/..",
        "a",
        "",
        "http://x/y",
        "*",
        "/a;b",
        "/a\\b",
        "/a\nb",
        "/a%41",
        "/a\x7f",
    ],
)
def test_paths_with_two_readings_are_refused(path: str):
    assert refuse_path(http_scope("GET", path)) is not None


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/", "/a/b.c", "/gradio_api/file=/tmp/x y.png", "/图", "/a..b", "/.well-known"]
)
def test_plain_paths_pass(path: str):
    assert refuse_path({**http_scope("GET", path), "raw_path": b"/"}) is None


def test_a_page_is_wanted_only_by_browsers_and_never_of_the_api():
    assert wants_page(http_scope("GET", "/", accept="text/html,*/*"))
    assert not wants_page(http_scope("GET", "/", accept="*/*"))
    assert not wants_page(http_scope("POST", "/", accept="text/html"))
    assert not wants_page(http_scope("GET", "/sdapi/v1/options", accept="text/html"))


@pytest.mark.parametrize(
    ("headers", "has_own_proof", "passes"),
    [
        ({"sec_fetch_site": "same-origin"}, False, True),
        ({"sec_fetch_site": "none", "origin": "http://localhost:7860"}, False, True),
        ({"sec_fetch_site": "none"}, False, False),
        ({"sec_fetch_site": "none"}, True, True),
        ({"sec_fetch_site": "cross-site"}, True, False),
        ({"sec_fetch_site": "same-site"}, True, False),
        ({"origin": "http://LOCALHOST:7860"}, False, True),
        ({"origin": "https://localhost:7860"}, False, True),
        ({"origin": "http://localhost"}, True, False),
        ({"origin": "null"}, True, False),
        ({"origin": "http://[::1"}, True, False),
        ({"origin": "file://localhost:7860"}, True, False),
        ({}, True, True),
        ({}, False, False),
    ],
)
def test_changes_need_proof_of_same_origin(headers: dict[str, str], has_own_proof: bool, passes: bool):
    refusal = refuse_cross_site(http_scope("POST", "/x", **headers), has_own_proof=has_own_proof)
    assert (refusal is None) is passes
