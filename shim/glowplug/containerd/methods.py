"""The calls that Glowplug makes of containerd's own API and of CRI, as a table; tests add integration/cri_methods.py.

A test compares it with the services in protos/.
"""

from google.protobuf.empty_pb2 import Empty

from glowplug.containerd.protos import (
    containers_pb2,
    cri_pb2,
    events_pb2,
    snapshots_pb2,
    tasks_pb2,
    version_pb2,
)
from glowplug.containerd.rpc import Method

_CONTAINERS = "/containerd.services.containers.v1.Containers"
_SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots"
_TASKS = "/containerd.services.tasks.v1.Tasks"
_RUNTIME = "/runtime.v1.RuntimeService"

GET_CONTAINER = Method(
    f"{_CONTAINERS}/Get", containers_pb2.GetContainerRequest, containers_pb2.GetContainerResponse
)
LIST_CONTAINERS = Method(
    f"{_CONTAINERS}/List", containers_pb2.ListContainersRequest, containers_pb2.ListContainersResponse
)
STAT_SNAPSHOT = Method(
    f"{_SNAPSHOTS}/Stat", snapshots_pb2.StatSnapshotRequest, snapshots_pb2.StatSnapshotResponse
)
SNAPSHOT_MOUNTS = Method(f"{_SNAPSHOTS}/Mounts", snapshots_pb2.MountsRequest, snapshots_pb2.MountsResponse)
SUBSCRIBE = Method(
    "/containerd.services.events.v1.Events/Subscribe", events_pb2.SubscribeRequest, events_pb2.Envelope
)
GET_TASK = Method(f"{_TASKS}/Get", tasks_pb2.GetRequest, tasks_pb2.GetResponse)
LIST_TASKS = Method(f"{_TASKS}/List", tasks_pb2.ListTasksRequest, tasks_pb2.ListTasksResponse)
KILL_TASK = Method(f"{_TASKS}/Kill", tasks_pb2.KillRequest, Empty)

VERSION = Method("/containerd.services.version.v1.Version/Version", Empty, version_pb2.VersionResponse)

CRI_STATUS = Method(f"{_RUNTIME}/Status", cri_pb2.StatusRequest, cri_pb2.StatusResponse)
LIST_POD_SANDBOX = Method(
    f"{_RUNTIME}/ListPodSandbox", cri_pb2.ListPodSandboxRequest, cri_pb2.ListPodSandboxResponse
)
EXEC_SYNC = Method(f"{_RUNTIME}/ExecSync", cri_pb2.ExecSyncRequest, cri_pb2.ExecSyncResponse)
