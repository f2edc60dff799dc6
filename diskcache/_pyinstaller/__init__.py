"""What PyInstaller asks for when it freezes a program (the entry point `pyinstaller40`)."""

from __future__ import annotations

import os.path as op


def hook_directories() -> list[str]:
    """Return the directories with hooks: this one."""
    return [op.dirname(__file__)]
