"""CUDA: which processes use it, the driver's checkpoint calls, and what NVML says of this node's devices.

The parent process never loads libcuda: every driver call is made by a worker process of its own (`worker`),
because a call can't be interrupted and a thread stuck in one would keep our process from exec and exit.

Runtime side (standard library only): `process_group`, `ptrace_hold`, `resume`, `suspend`, `processes`, `devnodes`,
`uuids`. In the workers: `worker`, `engine`, `driver`, `program`.
Agent side: `facts`, `memory_headroom` (NVML), `assigned_devices` and `device_map` (pure), `undumpable`, `trial` with
its process `probe`.
"""
