"""How fast it is: the work that is measured, a process that does it, and the report.

work.py has the work, written once: what PyTorch calls ``F``, ``nn`` and ``optim`` tinyfcn calls so
too, and ``with_tinyfcn.py``, ``with_torch.py`` or ``with_onnx.py`` give it what they have.
``worker.py`` is the process of one side, ``measure.py`` lets the sides take turns, and ``peers.py``
knows the ways in which a peer may do its best. ``scaling.py`` simulates many ranks.
"""
