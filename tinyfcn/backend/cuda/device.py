"""Is there a GPU that CuPy can use? If not, what is missing: one answer to every way it fails."""

from __future__ import annotations

import ctypes
import importlib
import sys
from importlib import metadata
from typing import Any

from tinyfcn.backend.errors import BackendError

PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy")


class DeviceError(BackendError):
    """The GPU backend cannot work on this machine; says what was found and what to do."""


def require_device() -> Any:
    """The module ``cupy``, if it can use a GPU.

    Raises:
        DeviceError: if CuPy, its compiler, the driver or the device is missing, or they do not fit
            together.
    """
    packages, driver, built, advice = installed(), driver_version(), 0, ""
    found = [", ".join(f"{name} {version}" for name, version in packages.items()) or "no CuPy"]
    found.append(f"an NVIDIA driver for CUDA {_dotted(driver)}" if driver else "no NVIDIA driver")
    try:
        cupy = importlib.import_module("cupy")
        built = cupy.cuda.driver.get_build_version()
        found.append(f"CuPy was built for CUDA {_dotted(built)}")
        devices = int(cupy.cuda.runtime.getDeviceCount())
        compiler = _no_compiler(cupy) if devices else ""
    except ImportError as error:
        if packages:
            found.append(f"import cupy fails: {error}")
    except RuntimeError as error:  # CUDARuntimeError
        found.append(str(error))
    else:
        if len(packages) > 1:
            advice = f"keep one of {', '.join(packages)}: pip uninstall the others"
        elif not devices:
            found.append("no device")
        elif compiler:
            found.append(f"NVRTC, which compiles the kernels, is missing: {compiler}")
            advice = _get_compiler(*packages)
        else:
            return cupy
    advice = advice or _advice(driver, packages, built)
    raise DeviceError(f"backend cupy: found {'; '.join(found)}. To use a GPU, {advice}.")


def _no_compiler(cupy: Any) -> str:
    """Why CuPy cannot load NVRTC, which it does not do before the first kernel; "" if it can."""
    try:
        cupy.cuda.nvrtc.getVersion()
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def _get_compiler(package: str = "cupy", *_: str) -> str:
    if package == "cupy":  # built here, or by conda
        return "install the CUDA toolkit's NVRTC, in conda the package cuda-nvrtc"
    return f'pip install "{package}[ctk]", which brings it'


def installed() -> dict[str, str]:
    """The packages that hold CuPy, with their versions."""
    found = (wheel for name in PACKAGES for wheel in metadata.distributions(name=name))
    return {wheel.name: wheel.version for wheel in found}


def driver_version() -> int:
    """The newest CUDA that the NVIDIA driver serves, 12040 for 12.4; 0 without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else version.value


def _advice(driver: int, packages: dict[str, str], built: int = 0) -> str:
    if not driver:
        return (
            'install the driver of an NVIDIA GPU, then pip install "cupy-cuda12x[ctk]" or '
            '"cupy-cuda13x[ctk]" for the CUDA version that nvidia-smi shows; without a GPU use '
            'backend "numpy"'
        )
    if built and built // 1000 <= driver // 1000:
        return (
            "make a GPU visible to this process (CUDA_VISIBLE_DEVICES, or the container's options)"
            ", or restart the driver"
        )
    if driver < 12000:
        return "install a newer NVIDIA driver, for CUDA 12 or later"
    remove = "".join(f"pip uninstall {name}, then " for name in packages)
    return f'{remove}pip install "cupy-cuda{min(driver // 1000, 13)}x[ctk]"'


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
