"""NVML readings: nothing without a driver, and the arithmetic on a driver that is played."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import pytest

from narl.tracking.telemetry import GpuTelemetry, added_up

MIB = 2**20


class PlayedNvml:
    """Devices with a script of readings each: one entry a sample, the last repeated."""

    def __init__(self, memory, utilisation, power, energy=None, uuids=("GPU-aaaa-0", "GPU-bbbb-1")):
        self.script = {"memory": memory, "utilisation": utilisation, "power": power, "energy": energy}
        self.uuids = uuids
        self.place = {}
        self.read = set()
        self.open = 0

    def _next(self, kind, device):
        self.read.add(device)
        values = self.script[kind]
        if values is None:
            raise RuntimeError("Not Supported")
        at = self.place.get((kind, device), 0)
        self.place[kind, device] = at + 1
        return values[device][min(at, len(values[device]) - 1)]

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index):
        if index >= len(self.uuids):
            raise RuntimeError("Invalid Argument")
        return index

    def nvmlDeviceGetUUID(self, device):
        return self.uuids[device]

    def nvmlDeviceGetMemoryInfo(self, device):
        return SimpleNamespace(used=self._next("memory", device))

    def nvmlDeviceGetUtilizationRates(self, device):
        return SimpleNamespace(gpu=self._next("utilisation", device))

    def nvmlDeviceGetPowerUsage(self, device):
        return self._next("power", device)

    def nvmlDeviceGetTotalEnergyConsumption(self, device):
        return self._next("energy", device)


@pytest.fixture
def play(monkeypatch):
    def put(visible=None, **script):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        nvml = PlayedNvml(**script)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return nvml

    return put


TWO = {
    "memory": [[100 * MIB, 300 * MIB, 200 * MIB], [50 * MIB, 10 * MIB, 10 * MIB]],
    "utilisation": [[10, 20, 60], [0, 100, 80]],
    "power": [[50_000, 70_000, 60_000], [30_000, 30_000, 30_000]],
    "energy": [[1_000_000, 1_250_000], [5_000, 6_000]],
}


def run_three_samples():
    telemetry = GpuTelemetry(interval=0.1)
    with telemetry:
        time.sleep(0.15)
    return telemetry.readings


def test_no_driver_no_readings_no_thread(monkeypatch):
    class NoDriver:
        def nvmlInit(self):
            raise RuntimeError("Driver Not Loaded")

    monkeypatch.setitem(sys.modules, "pynvml", NoDriver())
    before = threading.active_count()
    with GpuTelemetry() as telemetry:
        assert threading.active_count() == before
    assert telemetry.readings == {}


def test_no_package_no_readings(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert GpuTelemetry().start().stop() == {}


def test_the_machine_at_hand_raises_nothing():
    with GpuTelemetry(interval=0.01) as telemetry:
        pass
    assert all(value >= 0 for value in telemetry.readings.values())


def test_one_device(play):
    nvml = play("0", **TWO)
    assert run_three_samples() == {
        "gpu_memory_peak_mib": 300.0,
        "gpu_utilisation_mean_percent": 30.0,
        "gpu_power_mean_watts": 60.0,
        "gpu_energy_joules": 250.0,
    }
    assert nvml.open == 0


def test_two_devices_add_up(play):
    play("0,1", **TWO)
    assert run_three_samples() == {
        "gpu_memory_peak_mib": 310.0,
        "gpu_utilisation_mean_percent": pytest.approx((5 + 60 + 70) / 3),
        "gpu_power_mean_watts": 90.0,
        "gpu_energy_joules": 251.0,
    }


@pytest.mark.parametrize(
    ("visible", "read"),
    [
        (None, {0}),
        ("1", {1}),
        ("GPU-bbbb-1", {1}),
        ("GPU-bb", {1}),
        ("1, 0", {0, 1}),
        ("0,-1,1", {0}),
        ("0,7,1", {0}),
        ("", set()),
        ("-1", set()),
        ("GPU-zzzz", set()),
        ("GPU-", set()),
    ],
)
def test_only_devices_that_the_process_may_use_are_read(play, visible, read):
    nvml = play(visible, **TWO)
    telemetry = GpuTelemetry(interval=0.01).start()
    readings = telemetry.stop()
    assert nvml.read == read
    assert bool(readings) == bool(read)
    assert nvml.open == 0


def test_what_a_device_does_not_offer_is_left_out(play):
    play("0", memory=TWO["memory"], utilisation=None, power=None, energy=None)
    assert GpuTelemetry(interval=1).start().stop() == {"gpu_memory_peak_mib": 300.0}


def test_stop_does_not_wait_for_the_interval(play):
    play("0", **TWO)
    begin = time.monotonic()
    GpuTelemetry(interval=60).start().stop()
    assert time.monotonic() - begin < 5


def test_workers_with_a_device_each_add_up_to_one_process_with_all():
    one = {"gpu_energy_joules": 10.0, "gpu_utilisation_mean_percent": 80.0, "gpu_memory_peak_mib": 100.0}
    other = {"gpu_energy_joules": 30.0, "gpu_utilisation_mean_percent": 40.0}  # what one does not offer is left out
    assert added_up([one, other]) == {"gpu_energy_joules": 40.0, "gpu_utilisation_mean_percent": 60.0}
    assert added_up([one]) == one and added_up([]) == {}
