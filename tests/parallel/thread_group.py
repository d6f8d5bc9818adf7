"""Ranks as threads: a Group that needs no MPI, and finds what a real one would only hang on.

Ranks that call different methods, or arrays of different shapes; a rank that ends while another
waits for it; what was begun and never waited for; memory that is used before its wait is over: it
holds NaN (or −1) until then, and must not be written into.
"""

import pickle
import threading

import numpy as np

from tinyfcn.parallel.group import Group, RankFailed


def on_ranks(size, work, patience=60.0):
    """Run ``work(group)`` on ``size`` threads; what each gave, by rank, or the first error.

    Of a thread's own are grad mode and hooks, not the backend and the random numbers. Each rank
    makes its own model.
    """
    meeting = Meeting(size, patience)
    results = [None] * size
    errors = []

    def rank(number):
        try:
            results[number] = work(ThreadGroup(meeting, number))
        except BaseException as error:
            errors.append(error)
            meeting.end(number, error)
        else:
            meeting.end(number)

    threads = [threading.Thread(target=rank, args=(n,), daemon=True) for n in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    assert not meeting.calls, f"begun, but not waited for: {meeting}"
    return results


class ThreadGroup(Group):
    """What one of the threads sees of all."""

    def __init__(self, meeting, rank):
        self.rank, self.size = rank, meeting.size
        self.local_rank, self.local_size = rank, meeting.size
        self.begun = 0
        self._meeting = meeting

    def broadcast(self, arrays):
        for array in arrays:
            array[...] = self._begin("broadcast", array)()[0]

    def start_sum(self, array):
        arrays = self._begin("sum", array)
        _spoil(array)

        def wait():
            first, *others = arrays()
            array[...] = first
            for other in others:  # in the order of the ranks, so all get the same bits
                np.add(array, other, out=array)

        return wait

    def start_exchange(self, sent, received, counts):
        assert sent.shape[:1] == received.shape[:0] + (self.size,) and sent.ndim == 2, sent.shape
        assert received.shape == (sum(counts),) and len(counts) == self.size, received.shape
        wait = self._begin("exchange", sent, received.dtype, False)
        return _into(received, sent, lambda: self._rows(wait(), counts))

    def start_collect(self, part, whole):
        assert part.ndim == 1 and whole.shape == (self.size * part.size,), (part.shape, whole.shape)
        return _into(whole, part, self._begin("collect", part, whole.dtype))

    def gather(self, value):
        pickled = self._begin("gather", pickle.dumps(value))()
        return [pickle.loads(text) for text in pickled]

    def _rows(self, sent, counts):
        rows = [rows[self.rank] for rows in sent]
        assert [row.size for row in rows] == list(counts), f"{counts} for rows of another size"
        return rows

    def _begin(self, name, value, dtype=None, alike=True):
        """Show a copy of ``value`` to the others; gives what waits for those of all ranks."""
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous, f"{name}: an array that is not contiguous"
            assert dtype in (None, value.dtype), f"{name}: from {value.dtype} to {dtype}"
            call = name, value.dtype.str, value.shape if alike else None
            value = value.copy()
        else:
            call = (name,)
        number, self.begun = self.begun, self.begun + 1
        self._meeting.bring(number, self.rank, call, value)
        return lambda: self._meeting.wait(number, self.rank)


class Meeting:
    """What ranks brought to each call, until all have taken it."""

    def __init__(self, size, patience):
        self.size, self.patience = size, patience
        self.calls = {}  # number: {rank: (call, value)}
        self._left = {}  # number: ranks that have yet to take it
        self._ended = set()
        self._failed = None
        self._news = threading.Condition()

    def bring(self, number, rank, call, value):
        with self._news:
            self._left.setdefault(number, set(range(self.size)))
            self.calls.setdefault(number, {})[rank] = call, value
            self._news.notify_all()

    def wait(self, number, rank):
        """The values of all ranks for this call."""
        with self._news:
            brought = self.calls[number]
            in_time = self._news.wait_for(
                lambda: len(brought) == self.size or self._ended - {*brought} or self._failed,
                self.patience,
            )
            if len(brought) < self.size:
                if self._failed:
                    raise RankFailed(*self._failed)
                why = "which ended" if in_time else "which are elsewhere"
                missing = {*range(self.size)} - {*brought}
                raise AssertionError(f"rank {rank} waits for {missing}, {why}: {self}")
            calls = {call for call, _ in brought.values()}
            assert len(calls) == 1, f"call {number} differs from rank to rank: {calls}"
            self._left[number].remove(rank)
            if not self._left[number]:
                del self.calls[number]
            return [brought[r][1] for r in range(self.size)]

    def end(self, rank, error=None):
        with self._news:
            self._ended.add(rank)
            if error is not None:
                self._failed = self._failed or (f"rank {rank}: {error}", 1)
            self._news.notify_all()

    def __str__(self):
        calls = ({rank: call for rank, (call, _) in made.items()} for made in self.calls.values())
        return "; ".join(map(str, calls))


def _into(received, sent, arrays):
    """What waits for arrays and puts them one behind the other; ``sent`` must stay as it is."""
    before = sent.tobytes()
    _spoil(received)

    def wait():
        found = arrays()
        assert sent.tobytes() == before, "written into before the wait was over"
        received[:] = np.concatenate(found)

    return wait


def _spoil(array):
    array.reshape(-1).view(np.uint8)[:] = 0xFF  # NaN, or −1
