"""The inputs that fuzzing has found, of interest or of a fault, are tried again.

`make fuzz` looks for more. Those of the target `store` are tried with the tests of the engine,
under its sanitizers.
"""

from __future__ import annotations

import pickletools
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_python import TARGETS

from diskcache import _core

CORPUS = Path(__file__).parent / 'corpus'

linux = pytest.mark.skipif(sys.platform != 'linux', reason='needs limits of memory')


@linux
@pytest.mark.parametrize('target', TARGETS)
def test_what_was_found_is_no_fault_any_more(target: str, tmp_path: Path) -> None:
    """In a process of its own: an input may be one that has crashed it."""
    script = str(Path(__file__).parent / 'fuzz_python.py')
    command = [sys.executable, script, target, str(CORPUS / target), str(tmp_path / 'failed')]
    result = subprocess.run([*command, '--replay'], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout.split()[0]) > 0


@pytest.mark.slow
@linux
@pytest.mark.parametrize('target', TARGETS)
def test_it_goes_on_by_chance(target: str, tmp_path: Path) -> None:
    """The program that `make fuzz` runs where there is no atheris."""
    arguments = [target, str(CORPUS / target), str(tmp_path / 'failed'), '--seconds=1', '--seed=1']
    script = f"""if True:
        import sys
        sys.modules['atheris'] = None
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        sys.argv[1:] = {arguments!r}
        import runpy
        runpy.run_module('fuzz_python', run_name='__main__')
    """
    result = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert 'inputs by chance' in result.stdout


@pytest.mark.parametrize(
    'path', sorted((CORPUS / 'key_pickle').iterdir()), ids=lambda path: path.name
)
def test_pickles_are_optimized_as_pickletools_does(path: Path) -> None:
    """The first byte says what the target in C makes of the others; here it is always a pickle."""
    pickled = path.read_bytes()[1:]
    for data in (pickled, b'\x80\x04' + pickled):
        try:
            expected = pickletools.optimize(data)
        except UnicodeDecodeError:  # C does not look at texts
            _core._optimize_pickle(data)
        except Exception as error:
            with pytest.raises(type(error)):
                _core._optimize_pickle(data)
        else:
            assert _core._optimize_pickle(data) == expected
