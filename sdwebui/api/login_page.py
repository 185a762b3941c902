"""The login page: plain HTML and CSS, no script, English and Chinese. To add a language: a row in `TEXTS`."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Log in",
        "username": "User name",
        "password": "Password",
        "submit": "Log in",
        "wrong": "The user name or the password is wrong. Check both and try again.",
        "throttled": "Too many wrong passwords. Try again in {seconds} seconds.",
        "busy": "Too many people are logging in at this moment. Try again in a few seconds.",
        "stale": "This form was open for too long or comes from another page. Please log in again.",
        "incomplete": "User name and password must both be filled in, with at most {limit} characters each.",
        "insecure": "This connection is not encrypted: others on the network can read the password.",
    },
    "zh-CN": {
        "title": "登录",
        "username": "用户名",
        "password": "密码",
        "submit": "登录",
        "wrong": "用户名或密码错误。请检查后重试。",
        "throttled": "密码错误次数过多。请在 {seconds} 秒后重试。",
        "busy": "当前登录人数过多。请稍候几秒重试。",
        "stale": "此表单已过期或来自其他页面。请重新登录。",
        "incomplete": "用户名和密码均须填写，且各不超过 {limit} 个字符。",
        "insecure": "此连接未加密：同一网络中的他人可能读取密码。",
    },
}

_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · sdwebui</title>
<link rel="stylesheet" href="/login.css">
</head>
<body>
<main>
<h1>sdwebui</h1>
{notices}<form method="post" action="/login" autocomplete="on">
<input type="hidden" name="csrf" value="{csrf}">
<label for="username">{username}</label>
<input id="username" name="username" autocomplete="username" maxlength="{limit}" value="{given}" required autofocus>
<label for="password">{password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="{limit}" required>
<button type="submit">{submit}</button>
</form>
</main>
</body>
</html>
"""

CSS = """:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: flex; align-items: center; justify-content: center;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", sans-serif;
  background: #f3f4f6; color: #1f2937; }
main { width: min(22rem, 92vw); padding: 2rem; background: #fff; border-radius: 12px; box-shadow: 0 2px 16px #0002; }
h1 { margin: 0 0 1rem; font-size: 1.4rem; text-align: center; }
label { display: block; margin: .75rem 0 .25rem; font-weight: 600; }
input { width: 100%; padding: .6rem .7rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid #9ca3af; border-radius: 8px; }
input:focus-visible, button:focus-visible { outline: 3px solid #f97316; outline-offset: 1px; }
button { width: 100%; margin-top: 1.25rem; padding: .7rem; font: inherit; font-weight: 600; cursor: pointer;
  color: #fff; background: #c2410c; border: 0; border-radius: 8px; }
button:hover { background: #9a3412; }
p { margin: .5rem 0; padding: .5rem .75rem; border-radius: 8px; }
p[role=alert] { background: #fee2e2; color: #7f1d1d; }
p[role=status] { background: #fef3c7; color: #713f12; }
@media (prefers-color-scheme: dark) {
  body { background: #111827; color: #e5e7eb; }
  main { background: #1f2937; }
}
"""

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#c2410c"/>'
    '<path d="M7 23 15 9l4 7 2-3 5 10z" fill="#fff"/><circle cx="23" cy="9" r="2.5" fill="#fff"/></svg>'
)


def preferred_language(accept_language: str) -> str:
    """The language of `TEXTS` that the header `Accept-Language` asks for first; English when none fits.

    Args:
        accept_language: RFC 9110 form, for example "zh-CN,zh;q=0.9,en;q=0.8".
    """
    best, best_quality = "en", 0.0
    for part in accept_language[:500].split(","):
        tag, _, parameter = part.strip().lower().partition(";")
        quality = _quality(parameter)
        language = "zh-CN" if tag.split("-")[0] == "zh" else "en" if tag.split("-")[0] == "en" else ""
        if language and quality > best_quality:
            best, best_quality = language, quality
    return best


def login_html(*, language: str, csrf: str, alert: str = "", notice: str = "", given: str = "", limit: int) -> str:
    """The page as text.

    Args:
        language: a key of `TEXTS`.
        csrf: value of the hidden field.
        alert: what went wrong, in that language; may be empty.
        notice: a further sentence; may be empty.
        given: the user name of the last try.
        limit: largest number of characters of a field.
    """
    lines = [f'<p role="{role}">{escape(text)}</p>\n' for role, text in (("alert", alert), ("status", notice)) if text]
    texts = {key: escape(text) for key, text in TEXTS[language].items()}
    return _PAGE.format(
        language=language,
        title=texts["title"],
        notices="".join(lines),
        csrf=escape(csrf),
        username=texts["username"],
        password=texts["password"],
        submit=texts["submit"],
        given=escape(given),
        limit=limit,
    )


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
