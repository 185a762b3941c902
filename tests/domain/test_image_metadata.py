"""Text in picture files: ours is read by others, theirs by us, and garbage is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.image_metadata import (
    MAX_PIXELS,
    encode_jpeg,
    encode_png,
    encode_webp,
    read_image_text,
    read_parameters,
)
from sdwebui.domain.infotext import parse_infotext

DATA = Path(__file__).parents[3] / "shared/data/metadata"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the collection of real pictures is not beside this checkout")
WRITERS = (encode_png, encode_jpeg, encode_webp)
RGB = bytes(range(48)) * 4
LINE = (
    "Steps: 20, Sampler: Euler, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 8x8, Model: mini, Version: x 1"
)
ASCII_TEXT = f"best quality, (cat:1.2)\nNegative prompt: bad\n{LINE}"
CHINESE_TEXT = f"国风，汉服，一个女孩\nNegative prompt: 低质量\n{LINE}"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes, width: int = 1, height: int = 1) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("text", [ASCII_TEXT, CHINESE_TEXT, "", "é", "🏮" * 500])
def test_what_is_written_is_read_in_every_format(write, text):
    data = write(RGB, 8, 8, text)
    read = read_image_text(data)
    assert (read.parameters, read.width_px, read.height_px) == (text, 8, 8)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (8, 8)


def test_png_pixels_are_exact_at_every_compression_level():
    for level in (0, 1, 9):
        with Image.open(io.BytesIO(encode_png(RGB, 8, 8, "", compress_level=level))) as image:
            assert image.tobytes() == RGB


def test_latin_text_is_a_text_chunk_and_other_text_an_international_one():
    assert b"tEXtparameters\0best" in encode_png(RGB, 8, 8, ASCII_TEXT)
    assert b"iTXtparameters\0" in encode_png(RGB, 8, 8, CHINESE_TEXT)


@pytest.mark.parametrize("write", WRITERS)
def test_characters_that_no_file_can_hold_do_not_stop_a_picture(write):
    assert read_parameters(write(RGB, 8, 8, "a\0b \ud800")) == "ab ?"


def test_an_infotext_too_long_for_jpeg_is_refused_with_the_way_out():
    with pytest.raises(InvalidRequest, match="Use png"):
        encode_jpeg(RGB, 8, 8, "x" * 40_000)
    assert len(read_parameters(encode_png(RGB, 8, 8, "x" * 300_000))) == 300_000


@pytest.fixture(scope="module")
def kept_pictures() -> list[Image.Image]:
    """sd-parsers 0.6 remembers the last JPEG by `id()`, so a picture must outlive the next one's reading."""
    return []


@pytest.mark.parametrize("text", [ASCII_TEXT, CHINESE_TEXT])
@pytest.mark.parametrize("write", [encode_png, encode_jpeg])
def test_a_third_party_reader_understands_our_files(tmp_path, write, text, kept_pictures):
    sd_parsers = pytest.importorskip("sd_parsers")
    path = tmp_path / ("a.png" if write is encode_png else "a.jpg")
    path.write_bytes(write(RGB, 8, 8, text))
    kept_pictures.append(Image.open(path))
    info = sd_parsers.ParserManager().parse(kept_pictures[-1])
    expected = parse_infotext(text)
    (sampler,) = info.samplers
    assert [prompt.value for prompt in sampler.prompts] == [expected.prompt]
    assert [prompt.value for prompt in sampler.negative_prompts] == [expected.negative_prompt]
    assert (sampler.name, sampler.parameters["steps"], sampler.model.name) == ("Euler", "20", "mini")


def test_other_text_of_a_picture_is_listed():
    info = PngInfo()
    info.add_text("Software", "other")
    info.add_text("workflow", "{}", zip=True)
    info.add_itxt("Title", "图", zip=True)
    info.add_text("parameters", "a cat")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=info)
    read = read_image_text(buffer.getvalue())
    assert read.parameters == "a cat"
    assert read.items == {"Software": "other", "workflow": "{}", "Title": "图"}


def test_a_user_comment_in_either_byte_order_is_read():
    for encoding in ("utf-16-le", "utf-16-be"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + CHINESE_TEXT.encode(encoding)
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4)).save(buffer, "JPEG", exif=exif)
        assert read_parameters(buffer.getvalue()) == CHINESE_TEXT


def test_a_gif_comment_is_an_infotext():
    buffer = io.BytesIO()
    Image.new("P", (4, 4)).save(buffer, "GIF", comment=ASCII_TEXT.encode())
    assert read_parameters(buffer.getvalue()) == ASCII_TEXT


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        "a1111/auto_photoshop_output_image.png",
        "a1111/card-no-preview.png",
        "a1111/loractl_00007-1449410826.png",
        "sd_parsers/text_after_idat.png",
        "sd_parsers/AUTOMATIC1111/automatic1111_cropped.png",
        "sd_parsers/AUTOMATIC1111/automatic1111_cropped.jpg",
        "sdnext/logo-bg-0_exif.jpg",
    ],
)
def test_real_pictures_are_read(name):
    parsed = parse_infotext(read_parameters((DATA / name).read_bytes()))
    assert parsed.prompt
    assert parsed.params["Seed"].isdigit()


@needs_data
def test_every_real_picture_is_read_or_refused_by_name():
    paths = [path for path in DATA.rglob("*") if path.suffix in {".png", ".jpg", ".jpeg", ".webp"}]
    assert len(paths) > 10
    for path in paths:
        try:
            assert read_image_text(path.read_bytes()).width_px > 0
        except InvalidRequest as exc:
            assert exc.field == "image"


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF1234WEBPVP8 ", b"GIF89a"]
)
def test_garbage_is_refused(data):
    with pytest.raises(InvalidRequest) as caught:
        read_image_text(data)
    assert caught.value.field == "image"
    assert len(caught.value.detail) < 400


def test_a_file_over_the_byte_limit_is_refused_unread():
    with pytest.raises(InvalidRequest, match="at most 10 bytes"):
        read_image_text(encode_png(RGB, 8, 8, ""), max_bytes=10)


@pytest.mark.parametrize(("width", "height"), [(MAX_PIXELS, 2), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_of_an_absurd_size_is_refused_by_its_header(width, height):
    with pytest.raises(InvalidRequest, match=f"{width}×{height}"):
        read_image_text(png(width=width, height=height))


def test_an_absurd_size_is_refused_in_other_formats_too():
    data = bytearray(encode_jpeg(RGB, 8, 8, ""))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(InvalidRequest):
        read_image_text(bytes(data))


def test_text_that_unpacks_into_something_large_is_refused():
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    with pytest.raises(InvalidRequest, match="its text"):
        read_image_text(png(png_chunk(b"zTXt", b"parameters\0\0" + bomb)))
    with pytest.raises(InvalidRequest, match="its text"):
        read_image_text(png(*[png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 * 2**20)))] * 3))


def test_a_picture_of_endless_chunks_is_refused():
    with pytest.raises(InvalidRequest, match="its chunks"):
        read_image_text(png(png_chunk(b"abCd", b"") * 100_001))


def test_a_picture_that_is_cut_off_gives_the_text_before_the_cut():
    whole = encode_png(RGB, 8, 8, ASCII_TEXT)
    assert read_parameters(whole[: whole.index(b"IDAT") + 6]) == ASCII_TEXT


# Pillow itself warns about EXIF that it cannot read; here that is the point.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(WRITERS), st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
def test_a_damaged_file_is_read_or_refused_by_name(write, place, value, length):
    data = bytearray(write(RGB, 8, 8, ASCII_TEXT))
    data[min(place, len(data) - 1)] = value
    for candidate in (bytes(data), bytes(data[:length])):
        try:
            read_image_text(candidate)
        except InvalidRequest as exc:
            assert exc.field == "image"
