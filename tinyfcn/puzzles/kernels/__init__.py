"""The second ladder: kernels in CUDA, which the emulator runs, watches and profiles."""
