"""The writable layer: overlayfs' upper directory, /dev/shm, and files beneath a container's root.

A path inside a container is opened beneath its root (openat2, RESOLVE_IN_ROOT), used once, and changed by descriptor.
The layer is applied and undone while the overlay is unmounted. Runs at each restore: standard library only.
"""
