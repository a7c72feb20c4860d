"""Image files and archives as somebody careless or hostile makes them."""

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from PIL import Image


def picture(path: Path, size: tuple[int, int] = (12, 8), colour: tuple[int, int, int] = (255, 0, 51)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def classes(root: Path, *names: str, each: int = 6, size: tuple[int, int] = (12, 8)) -> Path:
    """A folder a class of small images, each of a colour of its own."""
    for number, name in enumerate(names):
        for image in range(each):
            picture(root / name / f"{image}.png", size, colour=(number * 40, image * 20, 128))
    return root


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header declares a size, whatever its data are."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def encoded(ending: str, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, ending)
    return buffer.getvalue()


def broken(kind: str) -> bytes:
    """The bytes of a file `….png` that is no image, or no small one."""
    whole = encoded("PNG")
    return {
        "empty": b"",
        "noise": b"not an image",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:200] + bytes(255 - byte for byte in whole[200:260]) + whole[260:],
        "mislabelled": encoded("JPEG"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "bomb": png(60_000, 60_000),
        "thread": png(1, 200_000, b"\0" * 4 * 200_000),
        "bytes": whole + b"\0" * (5 << 20),
    }[kind]


def tar(path: Path, files: dict[str, bytes], *odd: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in odd:
            archive.addfile(member)
    return path


def zipped(path: Path, files: dict[str, bytes], *, mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path
