"""Each CUDA kernel by itself: ``cases.py`` has work for it, ``work.py`` does it and compares."""
