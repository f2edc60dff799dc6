"""What is logged, by a logger for each subject below the logger ``diskcache``.

==========================  ========  ==============================================================
logger                      level     what
==========================  ========  ==============================================================
``diskcache.mechanism``     WARNING   what is done without, as SQLite or Python is not as known
``diskcache.directory``     WARNING   a database that is made anew, renamed, or opened with limits
``diskcache.lookup``        WARNING   a lookup that failed, and is answered as if there were nothing
``diskcache.unloadable``    WARNING   a value or key that cannot be loaded, and counts as missing
``diskcache.refused``       WARNING   one that the Disk does not trust, and counts as missing
``diskcache.lock``          INFO      an operation that a FanoutCache gave up for want of the lock
``diskcache.eviction``      INFO      how many items a call of ``cull`` has removed
``diskcache.eviction``      WARNING   a value larger than ``size_limit``, which is not kept
==========================  ========  ==============================================================
"""

from __future__ import annotations

import contextlib as cl
import math
import sys
import time

#: How often, in seconds, a kind of failure is logged.
_LOG_INTERVAL = 60.0
#: So many kinds are remembered to have been logged.
_LOGGED_MOST = 1000

#: So many of a group are logged within the interval; the others are counted.
_FEW = 10

#: When which kind of failure was logged last: a time on the monotonic clock by directory and kind.
_logged: dict[tuple[str, str], float] = {}


def log(subject: str, directory: str, text: str, *args: object) -> None:
    """Log a warning about a directory.

    :param subject: the last part of the logger's name
    :param text: in the form of logging
    """
    import logging  # which takes longer to import than this package

    logging.getLogger(f'diskcache.{subject}').warning('%s: ' + text, directory, *args)


def log_info(subject: str, directory: str, text: str, *args: object) -> None:
    """Log for those who have switched it on; the parameters are those of :func:`log`.

    Nobody has where logging has not been imported.
    """
    logging = sys.modules.get('logging')
    if logging is not None:
        logging.getLogger(f'diskcache.{subject}').info('%s: ' + text, directory, *args)


#: What has been logged once in this process.
_told: set[tuple[str, str]] = set()


def log_once(directory: str, text: str) -> None:
    """Log a warning about how a directory is opened, once in a process."""
    if (directory, text) not in _told:
        with cl.suppress(ImportError, OSError):  # as a user who cannot read the interpreter's files
            log('directory', directory, text)
            _told.add((directory, text))


def log_seldom(subject: str, directory: str, kind: str, text: str, *args: object) -> None:
    """Log a warning about a directory, once per directory, kind and minute.

    :param subject: the last part of the logger's name
    :param text: in the form of logging
    """
    now = time.monotonic()
    if now - _logged.get((directory, kind), -math.inf) >= _LOG_INTERVAL:
        with cl.suppress(ImportError, OSError):  # there may be no file descriptor left
            log(subject, directory, text, *args)
            if len(_logged) >= _LOGGED_MOST:
                _logged.clear()
            _logged[directory, kind] = now


class _Minute:
    """What has been logged of a group within an interval."""

    def __init__(self, since: float) -> None:
        self.since = since
        #: What each message was about.
        self.named: set[str] = set()
        #: How many were only counted.
        self.more = 0


#: By directory and group.
_minutes: dict[tuple[str, str], _Minute] = {}


def log_few(subject: str, directory: str, group: str, what: str, text: str, *args: object) -> None:
    """Log a warning about a directory, once a minute for what it is about.

    There may be thousands, and to log one takes longer than what it is about. So of a group the
    first few are logged, and when the minute is over how many there have been besides.

    :param subject: the last part of the logger's name
    :param group: what all of them are, as a text
    :param text: in the form of logging
    """
    now = time.monotonic()
    minute = _minutes.get((directory, group))
    with cl.suppress(ImportError, OSError):
        if minute is None or now - minute.since >= _LOG_INTERVAL:
            more = 0 if minute is None else minute.more
            if len(_minutes) >= _LOGGED_MOST:
                _minutes.clear()
            minute = _minutes[directory, group] = _Minute(now)
            if more:
                log(subject, directory, '%s: %d times more than was logged', group, more)
        if what in minute.named:
            return
        if len(minute.named) >= _FEW:
            minute.more += 1
            return
        minute.named.add(what)
        if len(minute.named) == _FEW:
            text += ' (what follows in this minute is only counted; check() tells of all)'
        log(subject, directory, text, *args)


def log_refusal(directory: str, key: object, error: Exception) -> None:
    """Log what a Disk does not trust, and is answered as missing, once per directory and minute."""
    what, shown = ('a key', ()) if key is None else ('the value of key %.200r', (key,))
    text = f'{what} is refused, and counts as missing: %s (check() tells of all)'
    log_seldom('refused', directory, 'refused', text, *shown, error)


def log_failure(directory: str, error: Exception) -> None:
    """Log an error that is answered with a default, once per directory, kind and minute."""
    code = getattr(error, 'sqlite_errorname', None) or str(error)  # the former from Python 3.11 on
    text = 'a lookup failed, and is answered as if the key were missing: %r'
    log_seldom('lookup', directory, f'{type(error).__name__} {code}', text, error)
