"""``python -m diskcache``: the command line of diskcache/cli.py."""

import sys

from diskcache.cli import main

if __name__ == '__main__':
    sys.exit(main())
