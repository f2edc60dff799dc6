"""Files that have the same bytes each time, and what a wheel says of itself."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
import uuid
import zlib
from pathlib import Path

import deflate

from wheels.cells import Cell

_LEVEL = 12  # the highest of libdeflate


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def gzip(data: bytes) -> bytes:
    """Compress, with no time and no name in the header."""
    return bytes(deflate.gzip_compress(data, _LEVEL))


def wheel(files: dict[str, bytes], epoch: int) -> bytes:
    """Return a wheel of these files, with its RECORD: sorted, the metadata at the end."""
    (info,) = {name.split('/')[0] for name in files if name.split('/')[0].endswith('.dist-info')}
    record = f'{info}/RECORD'
    lines = [f'{name},sha256={_digest(data)},{len(data)}' for name, data in sorted(files.items())]
    files = {**files, record: '\n'.join([*lines, f'{record},,', '']).encode()}
    names = sorted(files, key=lambda name: (name.startswith(info), name))
    return _zip({name: files[name] for name in names}, time.gmtime(epoch)[:6])


def _zip(files: dict[str, bytes], date: tuple[int, ...]) -> bytes:
    """Return an archive of files.

    zipfile has zlib compress, which takes 4 % more, and not the same in all its versions.
    """
    year, month, day, hour, minute, second = date
    dos = (hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day)
    body, directory = bytearray(), bytearray()
    for name, data in files.items():
        packed = bytes(deflate.deflate_compress(data, _LEVEL))
        encoded = name.encode('ascii')
        sizes = (zlib.crc32(data), len(packed), len(data), len(encoded), 0)
        mode = 0o100755 if name.endswith('.so') else 0o100644
        # Version 2.0, no flags, deflated; in the directory also: made by Unix, whose mode this is.
        directory += struct.pack(
            '<4s6H3L5H2L',
            *(b'PK\1\2', 3 << 8 | 20, 20, 0, 8, *dos, *sizes),
            *(0, 0, 0, mode << 16, len(body)),
        )
        directory += encoded
        body += struct.pack('<4s5H3L2H', b'PK\3\4', 20, 0, 8, *dos, *sizes) + encoded + packed
    counts = (0, 0, len(files), len(files), len(directory), len(body), 0)
    return bytes(body + directory + struct.pack('<4s4H2LH', b'PK\5\6', *counts))


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')


def description(cell: Cell) -> bytes:
    """Return WHEEL."""
    lines = ['Wheel-Version: 1.0', 'Generator: tools/wheels', 'Root-Is-Purelib: false']
    return '\n'.join([*lines, *(f'Tag: {tag}' for tag in cell.tags), '']).encode()


def sbom(name: str, version: str, cell: Cell, compiler: str, library: bytes, epoch: int) -> bytes:
    """Return the bill of materials, CycloneDX (PEP 770): what the wheel is made of, and by what.

    It contains nothing of others but a few functions of the compiler's own library. SQLite is that
    of the Python it runs on.
    """
    package = f'pkg:pypi/{name}@{version}'
    digest = hashlib.sha256(library).hexdigest()
    runtime = f'pkg:generic/compiler-rt?download=ziglang-{compiler}'
    document = {
        'bomFormat': 'CycloneDX',
        'specVersion': '1.6',
        'serialNumber': uuid.uuid5(uuid.NAMESPACE_URL, f'{package}#{cell.name}#{digest}').urn,
        'version': 1,
        'metadata': {
            'timestamp': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(epoch)),
            'tools': {'components': [{'type': 'application', 'name': 'zig', 'version': compiler}]},
            'component': {
                'type': 'library',
                'bom-ref': package,
                'name': name,
                'version': version,
                'purl': package,
                'licenses': [{'license': {'id': 'Apache-2.0'}}],
                'properties': [{'name': 'wheel:tag', 'value': tag} for tag in cell.tags],
            },
        },
        'components': [
            {
                'type': 'file',
                'bom-ref': 'extension',
                'name': f'diskcache/_core{cell.suffix}',
                'hashes': [{'alg': 'SHA-256', 'content': digest}],
                'licenses': [{'license': {'id': 'Apache-2.0'}}],
            },
            {
                'type': 'library',
                'bom-ref': runtime,
                'name': 'compiler-rt',
                'description': 'arithmetic that the processor lacks; linked in where it is called',
                'licenses': [{'expression': 'Apache-2.0 WITH LLVM-exception'}],
            },
        ],
        'dependencies': [
            {'ref': package, 'dependsOn': ['extension']},
            {'ref': 'extension', 'dependsOn': [runtime]},
            {'ref': runtime, 'dependsOn': []},
        ],
    }
    return (json.dumps(document, indent=2) + '\n').encode()
