"""`/docs`: the API on one page, made from its OpenAPI description. Plain HTML, no script, nothing from other hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sdwebui API</title>
<link rel="stylesheet" href="/docs.css">
</head>
<body>
<main>
<h1>sdwebui API</h1>
<p>Send HTTP Basic with your account or <code>Authorization: Bearer TOKEN</code>. Errors are JSON:
<code>{{"error", "detail", "field", "errors"}}</code>. The machine-readable form of this page is
<a href="/openapi.json">/openapi.json</a>.</p>
{routes}
</main>
</body>
</html>
"""

DOCS_CSS = """:root { color-scheme: light dark; }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2rem; }
details { border: 1px solid #8884; border-radius: 8px; margin: .5rem 0; padding: .5rem .75rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; padding: .2rem .5rem; border-bottom: 1px solid #8883; vertical-align: top; }
code { font-family: ui-monospace, monospace; }
"""


def docs_html(openapi: Mapping[str, Any]) -> str:
    """The page for an OpenAPI description."""
    return _PAGE.format(routes="\n".join(_sections(openapi)))


def _sections(openapi: Mapping[str, Any]) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, methods in openapi.get("paths", {}).items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(openapi, path, method, operation))
    for tag, operations in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>"
        yield from operations


def _operation(openapi: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    text = escape(str(operation.get("description", ""))).replace("\n\n", "<br><br>")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    rows = [*_parameter_rows(operation), *_field_rows(openapi, body)]
    table = "<table><tr><th>Field</th><th>Type</th><th>Default</th></tr>" + "".join(rows) + "</table>" if rows else ""
    head = f"<b>{method.upper()}</b> <code>{escape(path)}</code>"
    return f"<details><summary>{head}</summary><p>{text}</p>{table}</details>"


def _parameter_rows(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        yield _row(f"{parameter['name']} ({parameter['in']})", parameter.get("schema", {}))


def _field_rows(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    for name, field in _resolved(openapi, schema).get("properties", {}).items():
        yield _row(name, field)


def _resolved(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = openapi.get("components", {}).get("schemas", {}).get(name, schema)
    return found


def _row(name: str, schema: Mapping[str, Any]) -> str:
    kinds = [str(one.get("type", "")) for one in schema.get("anyOf", [schema])]
    kind = " or ".join(kind for kind in kinds if kind) or str(schema.get("$ref", "")).rpartition("/")[2]
    default = json.dumps(schema["default"], ensure_ascii=False) if "default" in schema else ""
    return (
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td><code>{escape(default)}</code></td></tr>"
    )
