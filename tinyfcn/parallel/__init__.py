"""Training with several processes, each of which is a rank: ``mpiexec -n 4 tinyfcn train …``.

Each rank learns from its shard of every batch; the gradients are summed over the ranks before each
step, so all make the same one. :class:`Group` is the whole interface between ranks, with three
implementations: one process alone, MPI, NCCL. Nothing else knows which.

Source: Akiba, Fukuda, Suzuki, "ChainerMN: scalable distributed deep learning framework" (2017).
"""

from tinyfcn.parallel.group import Group, RankFailed, group, use

__all__ = ["Group", "RankFailed", "group", "use"]
