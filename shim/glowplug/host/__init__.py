"""Facts of this node and of its processes, and the system calls that the standard library lacks.

The other leaves may import this one, and it imports none of them: so each reader of /proc, ptrace(2) and openat2(2)
exists once.
"""
