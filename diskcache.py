"""What `import diskcache` finds when the package beside it has lost its __init__.py.

A distribution that had overwritten that file, and then was uninstalled, has taken it along. Python
looks for a module after it has looked for a package of the name, so that this file is not even
opened as long as the package is whole.
"""

import os.path

__path__ = [os.path.splitext(__file__)[0]]  # what is left of the package

if not os.path.isdir(__path__[0]):
    raise ImportError(
        f'the package {__path__[0]} is gone, and not all that belonged to it: remove {__file__}',
        name=__name__,
        path=__file__,
    )

try:
    from diskcache.installed import left_over
except ModuleNotFoundError:
    raise ImportError(
        f'{__path__[0]} has lost files: uninstall all distributions that have a package diskcache,'
        ' and install one',
        name=__name__,
        path=__file__,
    ) from None

raise left_over(__path__[0])
