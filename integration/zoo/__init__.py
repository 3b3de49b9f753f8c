"""A zoo of real software from Debian's packages: each is captured with planted state, and restored into two new pods.

One file per program says how it is started, what its own clients plant and find, and when it is healthy. `pytest
integration/zoo` runs the quick ones, `--zoo` (or `hack/test --zoo`) all of them.
"""
