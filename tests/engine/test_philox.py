"""CUDA's normal numbers without CUDA: documented values, and Random123's known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdwebui.engine.philox import PhiloxStream, philox_4x32

CUDA_SEED_0 = [
    [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
    [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
    [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
]
"""`torch.manual_seed(0); torch.randn(3, 4, device="cuda")`, as widely documented (-0.9247, -0.4253, -2.6438 …)."""


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_ten_rounds_give_the_known_answers_of_random123(counter, key, expected):
    counters = np.array(counter, dtype=np.uint32).reshape(4, 1)
    assert tuple(int(word) for word in philox_4x32(counters, key)[:, 0]) == expected


def test_the_first_numbers_of_seed_0_are_cudas():
    np.testing.assert_allclose(PhiloxStream(0).randn((3, 4)), CUDA_SEED_0, atol=1e-6)


def test_the_stream_goes_on_from_call_to_call_and_depends_on_all_64_bits_of_the_seed():
    stream = PhiloxStream(7)
    first, second = stream.randn((4,)), stream.randn((4,))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, PhiloxStream(7).randn((4,)))
    assert not np.array_equal(first, PhiloxStream(7 + 2**32).randn((4,)))
    np.testing.assert_array_equal(first, PhiloxStream(7 + 2**64).randn((4,)))


def test_numbers_are_standard_normal():
    numbers = PhiloxStream(3).randn((100_000,))
    assert numbers.dtype == np.float32
    assert abs(float(numbers.mean())) < 0.01
    assert float(numbers.std()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.gpu
def test_equals_this_machines_cuda_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    for seed in (0, 42, 2**40 + 5):
        generator = torch.Generator("cuda").manual_seed(seed)
        stream = PhiloxStream(seed)
        for shape in ((4, 64, 64), (4, 128, 96)):
            expected = torch.randn(shape, device="cuda", generator=generator).cpu().numpy()
            np.testing.assert_allclose(stream.randn(shape), expected, atol=1e-5)
