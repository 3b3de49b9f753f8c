"""BLAKE2b by the interpreter's C code alone.

HOT: `import hashlib` loads OpenSSL, and takes longer than all the digests of a small checkpoint. Where an interpreter
has no such part, `hashlib` serves.
"""

try:
    from _blake2 import blake2b as new
except ImportError:
    from hashlib import blake2b as new

__all__ = ["new"]
