"""What single threads and children are scheduled by."""

import ctypes
import os
import platform
import queue
import socket
import threading

libc = ctypes.CDLL(None, use_errno=True)
IOPRIO_SET, IOPRIO_GET, SET_MEMPOLICY, GET_MEMPOLICY = {
    "x86_64": (251, 252, 238, 239),
    "aarch64": (30, 31, 237, 236),
}[platform.machine()]


def of_one_thread():
    """pthread_setaffinity, an I/O level and a slack of its own, beside a thread without. Each says it of itself."""
    requests, answers = queue.Queue(), queue.Queue()

    def facts():
        return sorted(os.sched_getaffinity(0)), libc.syscall(IOPRIO_GET, 1, 0), libc.prctl(30, 0, 0, 0, 0)

    def work():
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        libc.syscall(IOPRIO_SET, 1, 0, 2 << 13 | 7)
        libc.prctl(29, 1_000_000, 0, 0, 0)
        while True:
            requests.get()
            answers.put(facts())

    def look():
        requests.put(True)
        return [facts(), answers.get()]

    threading.Thread(target=work, daemon=True).start()
    before = look()
    assert before[0] != before[1]

    def check():
        now = look()
        assert now == before, f"was {before}, is {now}"

    return check


def of_a_child():
    """Its core filter, its oom_score_adj and its scheduling policy, not its parent's."""
    pid = os.fork()
    if not pid:
        with open("/proc/self/coredump_filter", "w") as file:
            file.write("0x11")
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(min(1000, int(open("/proc/self/oom_score_adj").read()) + 100)))
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 15)
        while True:
            threading.Event().wait()

    def look():
        found = [os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)]
        for name in ("coredump_filter", "oom_score_adj"):
            with open(f"/proc/{pid}/{name}") as file:
                found.append(file.read().strip())
        return found

    while look()[1] != 15:
        pass
    before = look()

    def check():
        assert look() == before, f"was {before}, is {look()}"

    return check


def memory_policy():
    """Of the entire program, as numactl sets it."""
    libc.syscall(SET_MEMPOLICY, 3, ctypes.byref(ctypes.c_ulong(1)), 64)

    def check():
        mode = ctypes.c_int(-1)
        libc.syscall(GET_MEMPOLICY, ctypes.byref(mode), None, 0, None, 0)
        assert mode.value == 3, f"mode {mode.value}"

    return check


def socket_options():
    """What servers set that CRIU does not know."""
    tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    wanted = [
        (tcp, socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 7),
        (tcp, socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16),
        (tcp, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 12345),
        (tcp, socket.IPPROTO_TCP, 25, 65536),  # TCP_NOTSENT_LOWAT
        (tcp, socket.IPPROTO_IP, socket.IP_TOS, 16),
        (udp, socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1),
        (udp, socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 9),
        (udp, socket.SOL_SOCKET, socket.SO_PRIORITY, 4),
        (unix, socket.SOL_SOCKET, socket.SO_PASSCRED, 1),
        (unix, socket.SOL_SOCKET, 42, 5),  # SO_PEEK_OFF
    ]
    for one, level, name, value in wanted:
        one.setsockopt(level, name, value)
    before = [one.getsockopt(level, name) for one, level, name, _ in wanted]

    def check():
        now = [one.getsockopt(level, name) for one, level, name, _ in wanted]
        assert now == before, f"was {before}, is {now}"

    return check
