"""Text inside picture files. To add a format: a writer here and its name in `_PILLOW_FORMATS`.

PNG has a `parameters` text chunk (tEXt in Latin-1, iTXt in UTF-8 where that does not do, as A1111's PNGs through
Pillow); JPEG and WebP have it in the EXIF tag UserComment ("UNICODE" and UTF-16). Reading never decodes pixels: a PNG's
chunks are walked, of other files only the header is read, so that no file can unpack into something large.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdwebui.domain.errors import InvalidRequest

MAX_FILE_BYTES = 128 * 2**20
MAX_PIXELS = 64 * 2**20
MAX_TEXT_BYTES = 8 * 2**20
"""Decompressed text of a PNG in all; two prompts of 100,000 characters need less than 1 MiB."""

PARAMETERS = "parameters"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PNG_CHUNKS = 100_000
_PILLOW_FORMATS = ("JPEG", "WEBP", "GIF", "AVIF")
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_CHARSET_BYTES = 8
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True, kw_only=True)
class ImageText:
    """What a picture file says of itself.

    Attributes:
        parameters: the infotext; empty when there is none.
        items: all other text by key ("workflow", "Software", "exif comment" …).
        width_px: width in pixels.
        height_px: height in pixels.
    """

    parameters: str
    items: Mapping[str, str]
    width_px: int
    height_px: int


def encode_png(rgb: bytes, width: int, height: int, infotext: str, compress_level: int = 6) -> bytes:
    """A PNG file.

    Args:
        rgb: height × width × 3 bytes, row by row, sRGB.
        width: in pixels.
        height: in pixels.
        infotext: goes into the chunk `parameters`; empty for none.
        compress_level: zlib's, 0 (fast) … 9 (small).
    """
    info = PngInfo()
    if infotext:
        info.add_text(PARAMETERS, _clean(infotext))
    buffer = io.BytesIO()
    _picture(rgb, width, height).save(buffer, "PNG", pnginfo=info, compress_level=compress_level)
    return buffer.getvalue()


def encode_jpeg(rgb: bytes, width: int, height: int, infotext: str, quality: int = 80) -> bytes:
    """A JPEG file with the infotext as EXIF UserComment; arguments as `encode_png`, quality 1 … 95.

    Raises:
        InvalidRequest: the infotext is longer than the 64 KiB that JPEG has for EXIF.
    """
    exif = _exif_bytes(infotext)
    if len(exif) > 65_000:
        raise InvalidRequest(
            "samples_format", "jpg", "cannot hold an infotext of more than 32,000 characters", "Use png."
        )
    buffer = io.BytesIO()
    _picture(rgb, width, height).save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def encode_webp(rgb: bytes, width: int, height: int, infotext: str, quality: int = 80) -> bytes:
    """A WebP file with the infotext as EXIF UserComment; arguments as `encode_png`, quality 1 … 100."""
    buffer = io.BytesIO()
    _picture(rgb, width, height).save(buffer, "WEBP", quality=quality, exif=_exif_bytes(infotext))
    return buffer.getvalue()


def read_parameters(data: bytes, *, max_bytes: int = MAX_FILE_BYTES) -> str:
    """The infotext of a picture file, empty when it has none. Raises as `read_image_text`."""
    return read_image_text(data, max_bytes=max_bytes).parameters


def read_image_text(data: bytes, *, max_bytes: int = MAX_FILE_BYTES) -> ImageText:
    """All text of a picture file (PNG, JPEG, WebP, GIF, AVIF), without decoding its pixels.

    Raises:
        InvalidRequest: the file is too large, has too many pixels, or is not a picture of these formats.
    """
    if len(data) > max_bytes:
        raise InvalidRequest("image", f"{len(data)} bytes", f"must have at most {max_bytes} bytes")
    try:
        return _read_png(data) if data.startswith(_PNG_SIGNATURE) else _read_other(data)
    except _UNREADABLE as exc:
        rule = "must be a picture file (PNG, JPEG, WebP, GIF or AVIF)"
        raise InvalidRequest("image", f"{len(data)} bytes", rule, f"It could not be read: {exc}.") from exc


def _picture(rgb: bytes, width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), rgb)


def _clean(text: str) -> str:
    """Text that every format can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _exif_bytes(infotext: str) -> bytes:
    exif = Image.Exif()
    if infotext:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + _clean(infotext).encode("utf-16-be")
    return exif.tobytes()


def _image_text(items: dict[str, str], width: int, height: int) -> ImageText:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InvalidRequest("image", f"{width}×{height}", f"must have 1 to {MAX_PIXELS} pixels")
    parameters = items.pop(PARAMETERS, "") or items.get("exif comment", "") or items.get("comment", "")
    return ImageText(parameters=parameters, items=items, width_px=width, height_px=height)


def _read_png(data: bytes) -> ImageText:
    items: dict[str, str] = {}
    size = (0, 0)
    text_bytes = 0
    for kind, content in _png_chunks(data):
        if kind == b"IHDR":
            size = struct.unpack(">II", content[:8])
        elif kind in _PNG_TEXT:
            key, text = _PNG_TEXT[kind](content)
            text_bytes += len(text)
            if text_bytes > MAX_TEXT_BYTES:
                raise InvalidRequest("image", "its text", f"must have at most {MAX_TEXT_BYTES} bytes")
            items[key] = text
        elif kind == b"eXIf":
            items |= _exif_items(content)
    return _image_text(items, *size)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each whole chunk; a file that is cut off just ends. Pixel data is skipped."""
    view = memoryview(data)
    place = len(_PNG_SIGNATURE)
    for _ in range(_MAX_PNG_CHUNKS):
        if place + 12 > len(data):
            return
        length = int.from_bytes(view[place : place + 4], "big")
        kind = bytes(view[place + 4 : place + 8])
        end = place + 8 + length
        if end + 4 > len(data):
            return
        yield kind, b"" if kind == b"IDAT" else bytes(view[place + 8 : end])
        place = end + 4
    raise InvalidRequest("image", "its chunks", f"must be at most {_MAX_PNG_CHUNKS}")


def _latin_text(content: bytes) -> tuple[str, str]:
    key, _, text = content.partition(b"\0")
    return key.decode("latin-1"), text.decode("latin-1")


def _compressed_text(content: bytes) -> tuple[str, str]:
    key, _, rest = content.partition(b"\0")
    return key.decode("latin-1"), _unpacked(rest[1:]).decode("latin-1")


def _international_text(content: bytes) -> tuple[str, str]:
    key, _, rest = content.partition(b"\0")
    _language, _, after = rest[2:].partition(b"\0")
    _translated, _, text = after.partition(b"\0")
    return key.decode("latin-1"), (_unpacked(text) if rest[:1] == b"\x01" else text).decode("utf-8", "replace")


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, MAX_TEXT_BYTES)
    if unpacker.unconsumed_tail:
        raise InvalidRequest("image", "its text", f"must have at most {MAX_TEXT_BYTES} bytes")
    return text


_PNG_TEXT = {b"tEXt": _latin_text, b"zTXt": _compressed_text, b"iTXt": _international_text}


def _read_other(data: bytes) -> ImageText:
    with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
        width, height = image.size
        comment = image.info.get("comment")
        items = {"comment": comment.decode("utf-8", "replace")} if isinstance(comment, bytes) else {}
        if width * height <= MAX_PIXELS:
            items |= _exif_items(image.info.get("exif", b""))
        return _image_text(items, width, height)


def _exif_items(block: bytes) -> dict[str, str]:
    """The UserComment of an EXIF block, under A1111's name "exif comment"."""
    exif = Image.Exif()
    exif.load(block)
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if isinstance(comment, str):
        return {"exif comment": comment}
    return {"exif comment": _user_comment(comment)} if isinstance(comment, bytes) else {}


def _user_comment(comment: bytes) -> str:
    """EXIF 2.3, 4.6.5: eight bytes name the character set. For UTF-16 the byte order is not said; ASCII in it tells."""
    charset, text = comment[:_CHARSET_BYTES], comment[_CHARSET_BYTES:]
    if charset == b"UNICODE\0":
        is_little = text[1::2].count(0) > text[0::2].count(0)
        return text.decode("utf-16-le" if is_little else "utf-16-be", "replace").rstrip("\0")
    if charset in (b"ASCII\0\0\0", bytes(_CHARSET_BYTES)):
        return text.decode("utf-8", "replace").rstrip("\0 ")
    return comment.decode("utf-8", "replace").rstrip("\0")
