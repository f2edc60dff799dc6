"""Build the wheels of all Linux platforms on one of them, check them, and try them out.

=============  ==================================================================================
cells          the Pythons and platforms, and which of them an argument names
clone          what git knows of the clone
tree           the sources and the sdist, under the distribution's name
headers        the headers of each Python
compiling      the extension, by zig, which is a C compiler for all of them
packing        files that have the same bytes each time, and what a wheel says of itself
checks         what must hold of each wheel
places         where each can run: Pythons that are here, Debian's, unpacked, and built ones
building       a Python that neither Debian nor the registry has, from Debian's sources
trying         installing each there; the smoke test, a part of the suite
smoke          that test, which is run by itself
=============  ==================================================================================

`python -m wheels` (`__main__`) does one after the other; `make wheels` sets it up.
"""
