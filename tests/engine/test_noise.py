"""A picture's noise: A1111's rules for seeds, variations, resized seeds and ENSD; a batch equals its singles."""

from __future__ import annotations

import pytest
import torch

from sdwebui.engine.noise import NOISE_SOURCES, ImageNoise, NoiseOptions, slerp
from sdwebui.engine.philox import PhiloxStream

SHAPE = (4, 8, 6)


def cpu(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_noise_is_the_cpu_generators_stream_of_the_seed():
    noise = ImageNoise(42, SHAPE)
    first, second, third = cpu(42, SHAPE, SHAPE, SHAPE)
    assert torch.equal(noise.initial(), first[None])
    assert torch.equal(noise.extra(), second[None])
    assert torch.equal(noise.between(3.0, 2.0), third[None])


def test_a_batch_equals_its_single_pictures_whatever_the_order_of_asking():
    together = [ImageNoise(seed, SHAPE) for seed in (5, 6, 7)]
    batch = [[noise.initial() for noise in together], [noise.extra() for noise in reversed(together)][::-1]]
    for index, seed in enumerate((5, 6, 7)):
        alone = ImageNoise(seed, SHAPE)
        assert torch.equal(batch[0][index], alone.initial())
        assert torch.equal(batch[1][index], alone.extra())


def test_nv_noise_is_cudas():
    noise = ImageNoise(0, SHAPE, options=NoiseOptions(source="NV"))
    reference = PhiloxStream(0)
    assert torch.equal(noise.initial()[0], torch.from_numpy(reference.randn(SHAPE)))
    assert torch.equal(noise.extra()[0], torch.from_numpy(reference.randn(SHAPE)))


def test_gpu_noise_comes_from_the_devices_own_generator():
    on_cpu = ImageNoise(1, SHAPE, device="cpu", options=NoiseOptions(source="GPU"))
    assert torch.equal(on_cpu.initial(), ImageNoise(1, SHAPE).initial())


@pytest.mark.parametrize("source", NOISE_SOURCES)
def test_every_source_is_float32_and_repeatable(source):
    options = NoiseOptions(source=source)
    first = ImageNoise(2**62, SHAPE, options=options).initial()
    assert (first.dtype, first.shape) == (torch.float32, (1, *SHAPE))
    assert torch.equal(first, ImageNoise(2**62, SHAPE, options=options).initial())


def test_ensd_seeds_all_noise_after_the_first_anew():
    noise = ImageNoise(10, SHAPE, options=NoiseOptions(ensd=31337))
    assert torch.equal(noise.initial(), ImageNoise(10, SHAPE).initial())
    assert torch.equal(noise.extra()[0], cpu(31347, SHAPE)[0])


def test_the_largest_seed_and_ensd_together_still_make_a_generator():
    noise = ImageNoise(2**63 - 1, SHAPE, options=NoiseOptions(ensd=31337))
    noise.initial()
    assert bool(torch.isfinite(noise.extra()).all())


def test_a_variation_is_the_spherical_mixture_of_both_seeds_noise():
    for strength in (0.25, 1.0):
        options = NoiseOptions(subseed=99, subseed_strength=strength)
        noise = ImageNoise(1, SHAPE, options=options)
        start, end = cpu(1, SHAPE)[0], cpu(99, SHAPE)[0]
        unit = [one / one.norm(dim=1, keepdim=True) for one in (start, end)]
        angle = (unit[0] * unit[1]).sum(1, keepdim=True).acos()
        expected = (((1 - strength) * angle).sin() * start + (strength * angle).sin() * end) / angle.sin()
        assert torch.allclose(noise.initial()[0], expected, atol=1e-5)


def test_a_variation_leaves_the_later_noise_alone():
    varied = ImageNoise(1, SHAPE, options=NoiseOptions(subseed=99, subseed_strength=0.5))
    varied.initial()
    assert torch.equal(varied.extra()[0], cpu(1, SHAPE, SHAPE)[1])


def test_noises_that_are_nearly_parallel_are_mixed_linearly():
    start = cpu(1, SHAPE)[0]
    assert torch.allclose(slerp(0.3, start, start * 1.0001), start * 0.3 + start * 1.0001 * 0.7)


@pytest.mark.parametrize(
    ("old", "into", "taken"),
    [
        ((4, 4), (slice(2, 6), slice(1, 5)), (slice(0, 4), slice(0, 4))),
        ((12, 10), (slice(0, 8), slice(0, 6)), (slice(2, 10), slice(2, 8))),
        ((4, 10), (slice(2, 6), slice(0, 6)), (slice(0, 4), slice(2, 8))),
    ],
)
def test_a_resized_seed_has_its_old_noise_in_the_middle(old, into, taken):
    noise = ImageNoise(8, SHAPE, options=NoiseOptions(resize_from=old)).initial()[0]
    small = cpu(8, (4, *old))[0]
    expected = cpu(8, SHAPE)[0].clone()
    expected[:, into[0], into[1]] = small[:, taken[0], taken[1]]
    assert torch.equal(noise, expected)


def test_an_odd_difference_in_size_loses_a_row_on_both_sides_as_in_a1111():
    noise = ImageNoise(8, SHAPE, options=NoiseOptions(resize_from=(11, 6))).initial()[0]
    small, fresh = cpu(8, (4, 11, 6))[0], cpu(8, SHAPE)[0]
    assert torch.equal(noise[:, 0:7], small[:, 2:9])
    assert torch.equal(noise[:, 7], fresh[:, 7])


def test_a_seed_resized_from_the_same_size_is_the_plain_seed():
    resized = ImageNoise(8, SHAPE, options=NoiseOptions(resize_from=SHAPE[1:]))
    plain = ImageNoise(8, SHAPE)
    assert torch.equal(resized.initial(), plain.initial())
    assert torch.equal(resized.extra(), plain.extra())


def test_brownian_noise_belongs_to_the_picture_and_its_source():
    by_source = {}
    for source in ("CPU", "NV"):
        options = NoiseOptions(source=source)
        between = ImageNoise(4, SHAPE, options=options).brownian(0.03, 14.0)
        again = ImageNoise(4, SHAPE, options=options).brownian(0.03, 14.0)
        by_source[source] = between(14.0, 9.0)
        assert by_source[source].shape == (1, *SHAPE)
        assert by_source[source].dtype == torch.float32
        assert torch.equal(by_source[source], again(14.0, 9.0))
    assert not torch.equal(by_source["CPU"], by_source["NV"])


def test_brownian_noise_leaves_the_pictures_stream_alone_and_ignores_ensd():
    noise = ImageNoise(4, SHAPE, options=NoiseOptions(ensd=5))
    plain = ImageNoise(4, SHAPE).brownian(0.03, 14.0)(14.0, 9.0)
    assert torch.equal(noise.brownian(0.03, 14.0)(14.0, 9.0), plain)
    assert torch.equal(noise.initial(), ImageNoise(4, SHAPE).initial())


def test_a_single_level_makes_a_brownian_motion_that_nobody_asks():
    assert callable(ImageNoise(4, SHAPE).brownian(14.0, 14.0))
