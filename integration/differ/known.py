"""What may differ between a process before its capture and after its restore, and why that is right."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_USE = (
    r"/status/(SigQ|voluntary_ctxt_switches|nonvoluntary_ctxt_switches|FDSize|HugetlbPages|Rss(Anon|File|Shmem)"
    r"|Vm(Peak|HWM|RSS|PTE|Swap|Data|Size|Lib|Exe|Stk))$"
)
_MULTICAST = r"/connection/(IP-33|IPV6-17|IPV6-18)$"


@dataclass(frozen=True, slots=True)
class Known:
    """`field` is looked for in `/PID/field`, `values` in `was → is`."""

    field: str
    reason: str
    values: str = ""


KNOWN = (
    Known(_USE, "use, counted again"),
    Known(r"/status/State$", "of the moment"),
    Known(r"/status/Threads$", "each thread is compared; a runtime makes more when it likes"),
    Known(r"/status/(Pid|Tgid|Ngid)$", "the node's numbers; the container's are in the field's name"),
    Known(r"/status/(Cpus|Mems)_allowed(_list)?$", "compared as affinity, which knows the new cpuset"),
    Known(r"/maps/\[(vvar|vdso|vvar_vclock)\]/", "the kernel's own pages lie where this kernel puts them"),
    Known(
        r"/(maps|memory)/",
        "memory restored from extents may be huge pages (docs/memory.md)",
        r"^(.*) → \1 hg$",
    ),
    Known(r"/fd/\d+/name$", "bound to the name that a renamed one had at the capture", r"^/.* → /"),
    Known(r"/unix/SOCKET-2$", "SO_REUSEADDR, which means nothing to Unix sockets"),
    Known(r"/unix/SOCKET-(17|59)$", "SO_PEERCRED, SO_PEERGROUPS: CRIU called listen(2) (docs/edits.md)"),
    Known(
        r"/connection/TCP-2$",
        "TCP_MAXSEG, measured again; integration/programs/queues.py holds how small it may be",
    ),
    Known(r"/connection/TCP-10$", "the kernel's own limit of a window, which grows in a repaired connection"),
    Known(r"/connection/TCP-44$", "TCP_RTO_MAX_MS of a connection with data under way (docs/edits.md)"),
    Known(r"/connection/IPV6-26$", "IPV6_V6ONLY means nothing to a connection; CRIU sets it before bind(2)"),
    Known(
        r"/fd/\d+/(status-)?flags$",
        "O_TMPFILE: it comes back as a removed file (docs/edits.md)",
        r"^0o[2367]\d[2367]\d{5} → ",
    ),
    Known(
        r"/fd/\d+/watches-\d+$",
        "a watch that EPOLLONESHOT has disarmed reports errors again",
        r"^events: 4\d{5}00 .* → events: 4\d{5}18 ",
    ),
    Known(
        r"^/ipc/shm/",
        "its creator is root; its owner, who may do the same, is as it was",
        r"^(.*) cuid=\d+ .* → \1 cuid=0 ",
    ),
    Known(r"/fd/\d+/ticks$", "a timer continues"),
    Known(
        r"/fd/\d+/inotify",
        "a watch of IN_ONESHOT continues after its first event (docs/edits.md)",
        r"mask:8(\w{7}) .* → .* mask:0?0*\w+",
    ),
    Known(r"/(maps|memory)/", "locked at once, not by use (docs/edits.md)", r"^(.*) lf → \1$"),
    Known(r"^/(?!1/).*/memory-policy$", "the first process's is all that a restore can give (docs/edits.md)"),
    Known(_MULTICAST, "what a TCP socket says of multicasts is an echo of its last packet"),
)


def reason(field: str, was: str, now: str, known: Iterable[Known] = KNOWN) -> str:
    """Why a difference is right; empty where it is not known to be."""
    for one in known:
        if re.search(one.field, f"/{field}") and re.search(one.values, f"{was} → {now}"):
            return one.reason
    return ""
