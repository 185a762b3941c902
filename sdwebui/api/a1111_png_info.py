"""A1111's `/sdapi/v1/png-info`: the generation parameters inside a picture file."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import FastAPI

from sdwebui.api.a1111_schemas import PngInfoBody
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.image_metadata import ImageText, read_image_text
from sdwebui.domain.infotext import a1111_parameters, parse_infotext


class PngInfoRoutes:
    """Reads pictures that callers send; nothing is stored, no pixel is decoded."""

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        app.add_api_route("/sdapi/v1/png-info", self.png_info, methods=["POST"], tags=["A1111: lists"])

    def png_info(self, body: PngInfoBody) -> dict[str, Any]:
        """The infotext as it stands in the file (`info`), taken apart (`parameters`), and all other text (`items`)."""
        found = _read(image_bytes("image", body.image))
        info = found.parameters
        return {
            "info": info,
            "items": dict(found.items),
            "parameters": a1111_parameters(parse_infotext(info)) if info else {},
        }


def _read(data: bytes) -> ImageText:
    """The text of a picture file. A decoding library's own words about a bad file do not go out."""
    try:
        return read_image_text(data)
    except InvalidRequest as error:
        if error.__cause__ is None:
            raise
        hint = "It is of another format, damaged or cut off. Send the whole file."
        raise InvalidRequest("image", f"{len(data)} bytes", error.rule, hint) from error


def image_bytes(field: str, text: str) -> bytes:
    """The file inside a base64 text, with or without `data:image/…;base64,` before it.

    Raises:
        InvalidRequest: no base64, or an address: the server fetches nothing.
    """
    if text.startswith(("http://", "https://")):
        raise InvalidRequest(field, text, "must be the file itself as base64, not an address", "Fetch it and send it.")
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(field, text, "must be a picture file as base64") from None
