from __future__ import annotations

import pytest

from sdwebui.api.response_headers import is_plain, leaving


def names(headers: list[tuple[bytes, bytes]]) -> set[bytes]:
    return {name for name, _ in headers}


def test_only_listed_headers_leave():
    given = [
        (b"Content-Type", b"text/html"), (b"Cookie", b"a"), (b"Server", b"x"), (b"Access-Control-Allow-Origin", b"*"),
        (b"Authorization", b"Basic x"), (b"X-Forwarded-For", b"1"), (b"Link", b"x"),
    ]  # fmt: skip
    left = leaving(given, is_page=False, is_secure=False)
    assert (b"content-type", b"text/html") in left
    assert not names(left) & {
        b"cookie",
        b"server",
        b"access-control-allow-origin",
        b"authorization",
        b"x-forwarded-for",
        b"link",
    }


@pytest.mark.parametrize(
    ("cookie", "leaves"),
    [
        (b"sdwebui-session=x; HttpOnly; SameSite=lax", True),
        (b"__Host-sdwebui-session=x; Secure", True),
        (b"access-token-abc=x; HttpOnly; Secure; SameSite=None", False),
        (b"access-token-unsecure-abc=x; HttpOnly", False),
        (b"sdwebui-session=x; samesite = None", False),
    ],
)
def test_only_our_own_cookies_leave_and_never_with_samesite_none(cookie: bytes, leaves: bool):
    left = leaving([(b"set-cookie", cookie)], is_page=True, is_secure=False)
    assert (b"set-cookie" in names(left)) is leaves


def test_what_says_nothing_of_caching_is_private():
    assert (b"cache-control", b"private, no-store") in leaving([], is_page=False, is_secure=False)
    kept = leaving([(b"cache-control", b"public, max-age=1")], is_page=False, is_secure=False)
    assert [value for name, value in kept if name == b"cache-control"] == [b"public, max-age=1"]


def test_scripts_are_allowed_on_the_page_alone():
    page = dict(leaving([], is_page=True, is_secure=True))
    plain = dict(leaving([], is_page=False, is_secure=False))
    assert b"script-src 'self'" in page[b"content-security-policy"]
    assert b"script-src" not in plain[b"content-security-policy"]
    assert b"strict-transport-security" in page
    assert b"strict-transport-security" not in plain


def test_uploads_and_our_own_pages_are_plain_and_the_rest_is_the_page():
    assert all(
        is_plain(path) for path in ("/login", "/docs", "/gradio_api/file=/x.svg", "/api/v1/images/1", "/metrics")
    )
    assert not any(is_plain(path) for path in ("/", "/assets/index.js", "/static/x", "/config"))
