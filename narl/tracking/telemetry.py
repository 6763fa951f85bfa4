"""What the accelerator did while a trial ran, read from NVIDIA's management library (NVML) if there is one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Any


class GpuTelemetry:
    """Samples this process's GPUs in a thread between `start` and `stop`; does nothing without card or driver.

    Memory, utilisation and power are those of whole devices: they include other processes that share them. A reading
    that a device does not offer (MIG slices have no utilisation) is left out.

    Args:
        interval: seconds between samples; one is taken at the start and one at the end in any case.

    Example:
        >>> with GpuTelemetry() as telemetry:
        ...     pass  # train and attack
        >>> sorted(telemetry.readings)  # doctest: +SKIP
        ['gpu_energy_joules', 'gpu_memory_peak_mib', 'gpu_power_mean_watts', 'gpu_utilisation_mean_percent']
    """

    def __init__(self, interval: float = 1.0):
        self.readings: dict[str, float] = {}
        """Filled by `stop`; with several devices, memory, power and energy are sums and utilisation is their mean."""
        self._interval = interval
        self._nvml: ModuleType | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> GpuTelemetry:
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # no package, no driver, no card: nothing to read
            return self
        self._nvml = pynvml
        self._devices = _own_devices(pynvml)
        if not self._devices:
            self._shut_down()
            return self
        self._samples: dict[str, list[float]] = {"memory": [], "utilisation": [], "power": []}
        self._energy_before = self._energy()
        self._thread = threading.Thread(target=self._sample_until_stopped, name="narl-nvml", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> dict[str, float]:
        """End the sampling; returns the readings, empty without a card."""
        if self._thread is None:
            return self.readings
        self._stopped.set()
        self._thread.join()
        self._thread = None
        memory, utilisation, power = (self._samples[key] for key in ("memory", "utilisation", "power"))
        if memory:
            self.readings["gpu_memory_peak_mib"] = max(memory) / 2**20
        if utilisation:
            self.readings["gpu_utilisation_mean_percent"] = sum(utilisation) / len(utilisation)
        if power:
            self.readings["gpu_power_mean_watts"] = sum(power) / len(power) / 1e3
        after = self._energy()
        if self._energy_before is not None and after is not None:
            self.readings["gpu_energy_joules"] = (after - self._energy_before) / 1e3
        self._shut_down()
        return self.readings

    def __enter__(self) -> GpuTelemetry:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _sample_until_stopped(self) -> None:
        while True:
            last = self._stopped.is_set()
            self._sample()
            if last:
                return
            self._stopped.wait(self._interval)

    def _sample(self) -> None:
        nvml = self._nvml
        assert nvml is not None
        memory = self._over_devices(lambda device: nvml.nvmlDeviceGetMemoryInfo(device).used)
        utilisation = self._over_devices(lambda device: nvml.nvmlDeviceGetUtilizationRates(device).gpu)
        power = self._over_devices(nvml.nvmlDeviceGetPowerUsage)  # mW
        if memory is not None:
            self._samples["memory"].append(sum(memory))
        if utilisation is not None:
            self._samples["utilisation"].append(sum(utilisation) / len(utilisation))
        if power is not None:
            self._samples["power"].append(sum(power))

    def _energy(self) -> float | None:
        """Read millijoules since the driver was loaded, all own devices together."""
        assert self._nvml is not None
        energy = self._over_devices(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if energy is None else sum(energy)

    def _over_devices(self, read: Any) -> list[float] | None:
        """Read every device; None if one of them does not offer it."""
        try:
            return [read(device) for device in self._devices]
        except Exception:  # NVMLError, whatever the binding calls it
            return None

    def _shut_down(self) -> None:
        assert self._nvml is not None
        with contextlib.suppress(Exception):
            self._nvml.nvmlShutdown()


def compute_processes() -> list[tuple[int, int | None]]:
    """List process id and bytes held (None if the driver does not tell) of others that compute on this process's GPUs.

    Empty without card or driver, and if a container hides them.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no card
        return []
    try:
        running = [
            one for device in _own_devices(pynvml) for one in pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        ]
        return [(one.pid, one.usedGpuMemory) for one in running if one.pid != os.getpid()]
    except Exception:  # not offered
        return []
    finally:
        with contextlib.suppress(Exception):
            pynvml.nvmlShutdown()


def added_up(readings: Sequence[dict[str, float]]) -> dict[str, float]:
    """Add up the readings of several processes, each with devices of its own, as one process would have read them."""
    common = set.intersection(*map(set, readings)) if readings else set()
    totals = {name: sum(each[name] for each in readings) for name in sorted(common)}
    if "gpu_utilisation_mean_percent" in totals:
        totals["gpu_utilisation_mean_percent"] /= len(readings)
    return totals


def _own_devices(nvml: ModuleType) -> list[Any]:
    """List the devices that CUDA_VISIBLE_DEVICES grants, by index, UUID or the beginning of a UUID.

    Without the variable it is the first device, on which a process computes unless it says otherwise. Like CUDA, the
    list ends at the first entry that names no device. Indices are NVML's, which are CUDA's on hosts with one model of
    card or with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    entries = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    devices = []
    for entry in entries:
        device = _device(nvml, entry.strip())
        if device is None:
            break
        devices.append(device)
    return devices


def _device(nvml: ModuleType, entry: str) -> Any | None:
    try:
        if entry.isdigit():
            return nvml.nvmlDeviceGetHandleByIndex(int(entry))
        if entry.startswith("MIG-"):
            return nvml.nvmlDeviceGetHandleByUUID(entry)
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        matching = [h for h in handles if entry.startswith("GPU-") and _uuid(nvml, h).startswith(entry)]
        return matching[0] if len(matching) == 1 else None
    except Exception:
        return None


def _uuid(nvml: ModuleType, handle: Any) -> str:
    uuid = nvml.nvmlDeviceGetUUID(handle)
    return uuid.decode() if isinstance(uuid, bytes) else uuid
