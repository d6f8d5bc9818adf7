"""The GPU backend without a GPU: what it hands to CuPy, and what it says where CuPy cannot work."""

import shutil
import sys
import threading
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinyfcn import backend
from tinyfcn.backend.cuda import CudaBackend, device, kernels, launcher, timing
from tinyfcn.backend.cuda.cupy_engine import CupyEngine
from tinyfcn.backend.cuda.device import DeviceError


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


def fake_cupy(built=13000, devices=1, nvrtc=(13, 0)):
    """A module with as much of CuPy as is asked for; ``devices`` and ``nvrtc``, its version, may be
    exceptions."""
    cupy = types.ModuleType("cupy")
    cupy.__getattr__ = lambda name: getattr(np, name)

    def answer(with_this):
        if isinstance(with_this, Exception):
            raise with_this
        return with_this

    current = threading.local()

    class Device:
        compute_capability = "90"

        def __init__(self, number=None):
            self.id = getattr(current, "id", 0) if number is None else number

        def use(self):
            current.id = self.id

        def __enter__(self):
            self.former = Device()
            self.use()

        def __exit__(self, *_):
            self.former.use()

    cupy.cuda = types.SimpleNamespace(
        Device=Device,
        driver=types.SimpleNamespace(get_build_version=lambda: built),
        runtime=types.SimpleNamespace(getDeviceCount=lambda: answer(devices)),
        nvrtc=types.SimpleNamespace(getVersion=lambda: answer(nvrtc)),
    )
    return cupy


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be a machine with these packages, this driver and this CuPy."""

    def machine(packages, driver, cupy):
        monkeypatch.setattr(device, "installed", lambda: packages)
        monkeypatch.setattr(device, "driver_version", lambda: driver)
        monkeypatch.setitem(sys.modules, "cupy", cupy)  # None: import fails

    return machine


NO_DEVICE = CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
OLD_DRIVER = CUDARuntimeError("cudaErrorInsufficientDriver: driver version is insufficient")
NO_NVRTC = RuntimeError('Failure finding "libnvrtc.so": No such file: libnvrtc.so*\n  listdir(...)')
CUPY_12, CUPY_13 = {"cupy-cuda12x": "14.2.0"}, {"cupy-cuda13x": "14.2.0"}


@pytest.mark.parametrize(
    ("packages", "driver", "cupy", "found", "advice"),
    [
        ({}, 0, None, "no CuPy; no NVIDIA driver",
         'install the driver of an NVIDIA GPU, then pip install "cupy-cuda12x[ctk]" or "cupy-c'),
        ({}, 12040, None, "no CuPy; an NVIDIA driver for CUDA 12.4",
         'pip install "cupy-cuda12x[ctk]"'),
        ({}, 13010, None, "driver for CUDA 13.1", 'pip install "cupy-cuda13x[ctk]"'),
        ({}, 11080, None, "driver for CUDA 11.8", "install a newer NVIDIA driver"),
        (CUPY_13, 0, fake_cupy(13000, OLD_DRIVER),
         "cupy-cuda13x 14.2.0; no NVIDIA driver; CuPy was built for CUDA 13.0; cudaErrorInsuff",
         "install the driver"),
        (CUPY_13, 12040, fake_cupy(13000, OLD_DRIVER),
         "an NVIDIA driver for CUDA 12.4; CuPy was built for CUDA 13.0",
         'pip uninstall cupy-cuda13x, then pip install "cupy-cuda12x[ctk]"'),
        (CUPY_12, 13000, fake_cupy(12090, NO_DEVICE), "cudaErrorNoDevice",
         "make a GPU visible to this process"),
        (CUPY_12, 12040, fake_cupy(12090, 0), "no device", "make a GPU visible to this process"),
        ({**CUPY_12, **CUPY_13}, 13000, fake_cupy(), "cupy-cuda12x 14.2.0, cupy-cuda13x 14.2.0",
         "keep one of cupy-cuda12x, cupy-cuda13x"),
        (CUPY_12, 12040, fake_cupy(12090, 1, NO_NVRTC),
         'NVRTC, which compiles the kernels, is missing: Failure finding "libnvrtc.so": No',
         'pip install "cupy-cuda12x[ctk]", which brings it.'),
        (CUPY_12, 12040, fake_cupy(12090, 1, OSError()), "is missing: OSError.", "pip install"),
        ({"cupy": "14.2.0"}, 13000, fake_cupy(13000, 1, ImportError("libnvrtc.so.13")),
         "is missing: libnvrtc.so.13.", "install the CUDA toolkit's NVRTC"),
        (CUPY_12, 12040, None, "import cupy fails", "pip uninstall cupy-cuda12x, then pip install"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_error(machine, packages, driver, cupy, found, advice):
    machine(packages, driver, cupy)
    former = backend.active()
    with pytest.raises(DeviceError) as caught:
        backend.use("cupy")
    assert backend.active() is former
    message = str(caught.value)
    assert message.startswith("backend cupy: found ")
    assert found in message and f"To use a GPU, {advice}" in message


def test_this_machine_is_asked():
    assert all(name.startswith("cupy") for name in device.installed())
    assert device.driver_version() >= 0


@pytest.mark.parametrize(("status", "found"), [(0, 12040), (3, 0)])
def test_the_driver_is_asked(monkeypatch, status, found):
    def get_version(reference):
        reference._obj.value = 12040
        return status

    driver = types.SimpleNamespace(cuDriverGetVersion=get_version)
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: driver)
    assert device.driver_version() == found


def gpu_that_records(machine):
    """The backend on a fake CuPy: what modules it makes, and what it launches."""
    made, asked, launched = [], [], []

    class RawModule:
        def __init__(self, **options):
            made.append(options)

        def get_function(self, name):
            asked.append(name)
            return lambda *args, **options: launched.append((name, args, options))

    cupy = fake_cupy()
    cupy.RawModule = RawModule
    machine(CUPY_13, 13000, cupy)
    return CudaBackend(CupyEngine()), made, asked, launched


def test_a_launch_goes_to_cupy_with_all_instances_and_scalars_of_the_right_size(machine):
    gpu, made, asked, launched = gpu_that_records(machine)
    assert gpu.name == "cupy" and gpu.xp is sys.modules["cupy"]
    x = np.ones((2, 3), np.float32)
    gpu.relu(x)
    gpu.relu(x.astype(np.float64))

    (options,) = made  # one module for the file
    assert "__global__ void relu(" in options["code"]
    assert set(options["name_expressions"]) >= {"relu<float>", "relu_grad<double>"}
    assert options["options"][0] == "-std=c++17"
    assert any(o.startswith("-I") and o.endswith("kernels") for o in options["options"])
    (name, (grid, block, arguments), keywords), (other, *_) = launched
    assert (name, other) == ("relu<float>", "relu<double>")
    assert (grid, block, keywords) == ((1, 1, 1), (launcher.THREADS, 1, 1), {"shared_mem": 0})
    assert arguments[0] is x and arguments[2].dtype == np.int64 and arguments[2] == 6

    assert asked == ["relu<float>", "relu<double>"]
    gpu.relu(x)
    assert asked == ["relu<float>", "relu<double>"]  # which are kept

    gpu.engine.run("activation.cu", "relu<float>", grid, block, (None,), 48)
    null = launched[-1][1][2][0]
    assert null == 0 and null.itemsize == 8 and launched[-1][2] == {"shared_mem": 48}

    def arrays(*addresses):
        return [types.SimpleNamespace(data=types.SimpleNamespace(ptr=at)) for at in addresses]

    gpu.engine.run("activation.cu", "relu<float>", grid, block, (arrays(8, 2**40), arrays(24)), 0)
    first, second = launched[-1][1][2]
    assert first.tolist() == [8, 2**40] and second.tolist() == [24] and first.dtype == np.uint64
    gpu.engine.run("activation.cu", "relu<float>", grid, block, (arrays(8, 2**40),), 0)
    assert launched[-1][1][2][0] is first  # no copy to the device where addresses come again
    for address in range(200):
        gpu.engine.run("activation.cu", "relu<float>", grid, block, (arrays(address),), 0)
        assert launched[-1][1][2][0].tolist() == [address]
    assert len(gpu.engine._tables) <= 64


def test_a_changed_header_is_another_build(machine, tmp_path, monkeypatch):
    """CuPy keeps what it compiled by the text of the .cu file and by the options."""
    shutil.copytree(kernels.folder(), tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("TINYFCN_KERNELS", str(tmp_path))

    def options():
        gpu, made, *_ = gpu_that_records(machine)
        gpu.relu(np.ones(3, np.float32))
        return made[0]["options"]

    first = options()
    assert options() == first
    header = tmp_path / "tile.cuh"
    header.write_text(header.read_text() + "// changed\n")
    assert options() != first


def test_time_is_that_between_events_which_the_device_comes_to_without_waiting(machine):
    gpu, *_ = gpu_that_records(machine)
    done, cupy = [], sys.modules["cupy"]

    class Event:
        def record(self, stream):
            assert stream == "current"
            self.number = len(done)
            done.append("event")

        def synchronize(self):
            done.append("waited")

    busy = types.SimpleNamespace(memset_async=lambda value, size, stream: done.append("busy"))
    cupy.cuda.get_current_stream = lambda: "current"
    cupy.empty = lambda *_: types.SimpleNamespace(data=busy)
    cupy.cuda.Event = Event
    cupy.cuda.get_elapsed_time = lambda a, b: 1000 * (b.number - a.number)
    seconds = gpu.engine.timed(lambda: done.extend(["work"] * (len(done) % 3 + 1)), 3)
    assert {*done[: timing.HEAD_START]} == {"busy"} and done[-1] == "waited"
    steps = done[timing.HEAD_START : -1]
    assert steps[0] == steps[-1] == "event" and steps.count("event") == 4
    assert sum(seconds) == len(steps) - 1 and min(seconds) > 1 and len(seconds) == 3

    times, asked = iter([[9.0], [0.01], [3.0, 1.0, 2.0]]), []
    engine = types.SimpleNamespace(timed=lambda work, n: asked.append(n) or next(times))
    assert timing.median_seconds(engine, None) == 2.0 and asked == [1, 1, 10]


def test_what_a_gpu_could_do(machine):
    gpu, *_ = gpu_that_records(machine)
    cupy = sys.modules["cupy"]
    cupy.cuda.runtime.getDeviceProperties = lambda number: {"name": f"GPU {number}".encode()}
    h100 = dict(MultiProcessorCount=132, ClockRate=1980000, MemoryClockRate=2619000)
    gpu.engine.device.attributes = {**h100, "GlobalMemoryBusWidth": 5120}
    gpu.engine.device.compute_capability = "90"
    found = gpu.engine.gpu()
    assert found.gflops == pytest.approx(66908, 1e-4)  # 67 TFLOP/s in NVIDIA's data sheet
    assert found.gbytes == pytest.approx(3352, 1e-3)  # 3.35 TB/s there
    assert str(found).startswith("GPU 0, compute capability 9.0, 132 multiprocessors; at its")
    gpu.engine.device.compute_capability = "80"
    assert gpu.engine.gpu().gflops == pytest.approx(66908 / 2, 1e-4)
    assert "GB/s" not in str(found._replace(gbytes=0.0))


def test_waiting_and_fetching_go_to_cupy(machine):
    gpu, *_ = gpu_that_records(machine)
    calls, cupy = [], sys.modules["cupy"]
    stream = types.SimpleNamespace(synchronize=lambda: calls.append("synchronize"))
    cupy.cuda.get_current_stream = lambda: stream
    cupy.asnumpy = lambda array: calls.append(array) or np.zeros(2)
    gpu.synchronize()
    assert calls == ["synchronize"]
    assert gpu.to_numpy("array of the device").shape == (2,) and calls[1] == "array of the device"


def test_a_batch_is_copied_on_a_stream_of_its_own_and_the_host_waits_for_nothing(machine):
    """The copy comes after what the device was given: CuPy's pool may give it memory that such
    work still reads. In a new thread, device 0 is the current one."""
    calls, devices = [], set()

    class Event:
        done = False

        def __init__(self, of):
            self.of = of

    class Stream:
        def __init__(self, name="copying", non_blocking=True):
            self.name = name
            assert non_blocking
            devices.add(cupy.cuda.Device().id)

        def record(self):
            calls.append(f"{self.name} records")
            return Event(f"what {self.name} was given")

        def wait_event(self, event):
            calls.append(f"{self.name} waits for {event.of}")

    class DeviceArray:
        def __init__(self, shape, dtype, order):
            self.host = np.empty(shape, dtype, order)
            devices.add(cupy.cuda.Device().id)

        def set(self, source, stream):
            calls.append(f"copy on {stream.name}")
            self.host[...] = source

    class Pinned(bytearray):  # which can be asked whether it is still there
        pass

    cupy = fake_cupy()
    cupy.empty = DeviceArray
    cupy.cuda.get_current_stream = lambda: Stream("current")
    cupy.cuda.Stream = Stream
    cupy.cuda.alloc_pinned_memory = Pinned
    machine(CUPY_13, 13000, cupy)
    images = np.arange(24, dtype="float32").reshape(1, 2, 4, 3).transpose(0, 3, 1, 2)
    gpu = CudaBackend(CupyEngine())
    gpu.engine.use_device(2)
    with ThreadPoolExecutor(1) as worker:
        ready = worker.submit(gpu.upload, images).result()
        assert devices == {2} and worker.submit(cupy.cuda.Device).result().id == 0
    assert calls == [
        "current records", "copying waits for what current was given", "copy on copying",
        "copying records",
    ]  # fmt: skip
    array = ready()
    assert calls[4:] == ["current waits for what copying was given"]
    np.testing.assert_array_equal(array.host, images)
    assert array.host.flags.c_contiguous

    memory = [weakref.ref(kept) for kept in gpu.engine._copies[0][1:]]
    del array, ready
    gpu.upload(images)
    assert all(kept() for kept in memory)  # the copy is not known to be done
    Event.done = True
    gpu.upload(images)
    assert not any(kept() for kept in memory) and len(gpu.engine._copies) == 1
