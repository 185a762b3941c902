from __future__ import annotations

import pytest
import torch

from sdwebui.domain.errors import ConfigurationError
from sdwebui.engine.devices import Device, choose_device, prepare_thread

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


def test_the_cpu_ladder_ends_in_float32():
    device = choose_device("cpu")
    assert device.name == "cpu"
    assert device.precisions[-1] is torch.float32
    assert device.torch_device == torch.device("cpu")
    assert device.memory_bytes == 0


def test_a_wanted_precision_is_the_first_step_and_safer_ones_follow():
    assert choose_device("cpu", "float32").precisions == (torch.float32,)
    assert choose_device("cpu", "bfloat16").precisions == (torch.bfloat16, torch.float32)
    assert choose_device("cpu", "float16").precisions == (torch.float16, torch.bfloat16, torch.float32)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CPU", "", "mps:0"])
def test_an_unknown_device_is_refused(name: str):
    with pytest.raises(ConfigurationError, match="must be auto, cpu, cuda or cuda:N"):
        choose_device(name)


@NO_CUDA
def test_cuda_without_a_device_says_so():
    assert choose_device("auto").name == "cpu"
    with pytest.raises(ConfigurationError, match="finds no CUDA device"):
        choose_device("cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_takes_the_first_cuda_device_in_half_precision():
    device = choose_device("auto")
    assert (device.name, device.precisions[0]) == ("cuda:0", torch.float16)
    assert device.memory_bytes > 0
    with pytest.raises(ConfigurationError, match="there are only"):
        choose_device("cuda:99")


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigurationError, match="must be auto, float32"):
        choose_device("cpu", "float8")


def test_the_thread_that_owns_the_cpu_treats_denormals_as_zero():
    threads = torch.get_num_threads()
    try:
        prepare_thread(Device(name="cpu", precisions=(torch.float32,)), threads=1)
        assert torch.get_num_threads() == 1
        assert float(torch.tensor(1e-40) * 1.0) in (0.0, pytest.approx(1e-40))
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
