"""Whether a checkpoint is intact: everything that its manifest says, read in full, and nothing else.

When a checkpoint enters the cache, and for `glowplug verify`.
"""

from glowplug.cache import blocks, check, digest, facts
from glowplug.errors import CacheError, DamagedCheckpoint, UnknownDigest

_SHOWN = 3  # problems in one message


def problems(directory: str, name: str, manifest: bytes) -> list[str]:
    """What is wrong with the checkpoint in directory, one line each: the file, what was expected, found.

    Raises UnknownDigest where that can't be known.
    """
    try:
        check.check_name(name, manifest)
        files = facts.files(facts.parse(manifest))
    except UnknownDigest:
        raise
    except CacheError as error:
        return [str(error)]
    found = [problem for path, file in files.items() if (problem := _problem(directory, path, file))]
    return found + _unlisted(directory, files)


def require_intact(directory: str, name: str, manifest: bytes) -> None:
    """Raises DamagedCheckpoint with the first problems, where there are any."""
    found = problems(directory, name, manifest)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DamagedCheckpoint(f"checkpoint {name}: {'; '.join(found[:_SHOWN])}{more}")


def _problem(directory: str, path: str, file: facts.File) -> str | None:
    try:
        check.check_parents(directory, path, set())
        check.check_file(directory, path, file)
        _check_digest(directory, path, file)
    except CacheError as error:
        return str(error)
    return None


def _check_digest(directory: str, path: str, file: facts.File) -> None:
    """The digests that check_file leaves to us."""
    _, size, algorithm, wanted = file
    if algorithm == facts.BLAKE2B:
        return
    if algorithm == facts.BLAKE3_BLOCKS:
        of_blocks = blocks.digests(directory, path)
        found = blocks.digest(of_blocks)
    else:
        of_blocks = []
        found = digest.content_digest(directory, path, algorithm)
    if found != wanted:
        where = _where(blocks.changed(directory, path, of_blocks, wanted), size)
        raise DamagedCheckpoint(f"{path}: expected {algorithm} {wanted[:16]}…, got {found[:16]}…{where}")


def _where(changed: list[int], size: int) -> str:
    """The blocks of a file of size bytes that are damaged, as the end of a message; nothing if none is known."""
    shown = "; ".join(blocks.place(number, size) for number in changed[:_SHOWN])
    more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return f" ({shown}{more})" if changed else ""


def _unlisted(directory: str, files: dict[str, facts.File]) -> list[str]:
    """Files that the manifest does not know: CRIU would read an image that nobody vouched for."""
    try:
        return [f"{path}: not in the manifest" for path in digest.walk(directory) if path not in files]
    except CacheError as error:
        return [str(error)]
