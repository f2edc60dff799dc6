"""What is raised where something is not trusted, by a Disk that does not trust all there is."""

from __future__ import annotations

import pickle


class RefusedError(pickle.UnpicklingError):
    """What stands in the directory is not trusted, and so is not loaded.

    :class:`SafeDisk` raises it for a type that it does not know, :class:`SignedDisk` for what has
    not got its signature. A lookup answers with a miss, and logs it.
    """


class UnsafeTypeError(pickle.PicklingError, TypeError):
    """What is to be stored has a type that :class:`SafeDisk` would not load again."""
