"""The directory that the wheels and the sdist go to."""

from __future__ import annotations

from pathlib import Path


def make_room(sdist: Path, *, for_all: bool) -> None:
    """Remove what is beside an sdist, of another name or version: it would be uploaded with it.

    :param for_all: all wheels are made anew, so remove those of the same name and version too
    """
    wheels = f'{sdist.name.removesuffix(".tar.gz")}-'
    for path in [*sdist.parent.glob('*.whl'), *sdist.parent.glob('*.tar.gz')]:
        if path != sdist and (for_all or not path.name.startswith(wheels)):
            path.unlink()
