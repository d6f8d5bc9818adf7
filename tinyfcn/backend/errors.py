"""What a backend cannot do, or not on this machine."""


class BackendError(RuntimeError):
    """A backend cannot do what was asked of it: no GPU, no driver, no compiler, too little work.

    Says what to do about it.
    """
