"""The calls that Glowplug makes of containerd's own API and of CRI, as a table.

A test compares it with the services in protos/.
"""

from google.protobuf.empty_pb2 import Empty

from glowplug.containerd.protos import (
    containers_pb2,
    content_pb2,
    cri_pb2,
    events_pb2,
    images_pb2,
    snapshots_pb2,
    tasks_pb2,
    version_pb2,
)
from glowplug.containerd.rpc import Method

_CONTAINERS = "/containerd.services.containers.v1.Containers"
_SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots"
_TASKS = "/containerd.services.tasks.v1.Tasks"
_RUNTIME = "/runtime.v1.RuntimeService"
_IMAGE = "/runtime.v1.ImageService"

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
GET_IMAGE = Method(
    "/containerd.services.images.v1.Images/Get", images_pb2.GetImageRequest, images_pb2.GetImageResponse
)
READ_CONTENT = Method(
    "/containerd.services.content.v1.Content/Read",
    content_pb2.ReadContentRequest,
    content_pb2.ReadContentResponse,
)
SUBSCRIBE = Method(
    "/containerd.services.events.v1.Events/Subscribe", events_pb2.SubscribeRequest, events_pb2.Envelope
)
GET_TASK = Method(f"{_TASKS}/Get", tasks_pb2.GetRequest, tasks_pb2.GetResponse)
LIST_TASKS = Method(f"{_TASKS}/List", tasks_pb2.ListTasksRequest, tasks_pb2.ListTasksResponse)
KILL_TASK = Method(f"{_TASKS}/Kill", tasks_pb2.KillRequest, Empty)
LIST_PIDS = Method(f"{_TASKS}/ListPids", tasks_pb2.ListPidsRequest, tasks_pb2.ListPidsResponse)
VERSION = Method("/containerd.services.version.v1.Version/Version", Empty, version_pb2.VersionResponse)

CRI_VERSION = Method(f"{_RUNTIME}/Version", cri_pb2.VersionRequest, cri_pb2.VersionResponse)
CRI_STATUS = Method(f"{_RUNTIME}/Status", cri_pb2.StatusRequest, cri_pb2.StatusResponse)
RUN_POD_SANDBOX = Method(
    f"{_RUNTIME}/RunPodSandbox", cri_pb2.RunPodSandboxRequest, cri_pb2.RunPodSandboxResponse
)
STOP_POD_SANDBOX = Method(
    f"{_RUNTIME}/StopPodSandbox", cri_pb2.StopPodSandboxRequest, cri_pb2.StopPodSandboxResponse
)
REMOVE_POD_SANDBOX = Method(
    f"{_RUNTIME}/RemovePodSandbox", cri_pb2.RemovePodSandboxRequest, cri_pb2.RemovePodSandboxResponse
)
POD_SANDBOX_STATUS = Method(
    f"{_RUNTIME}/PodSandboxStatus", cri_pb2.PodSandboxStatusRequest, cri_pb2.PodSandboxStatusResponse
)
LIST_POD_SANDBOX = Method(
    f"{_RUNTIME}/ListPodSandbox", cri_pb2.ListPodSandboxRequest, cri_pb2.ListPodSandboxResponse
)
CREATE_CONTAINER = Method(
    f"{_RUNTIME}/CreateContainer", cri_pb2.CreateContainerRequest, cri_pb2.CreateContainerResponse
)
START_CONTAINER = Method(
    f"{_RUNTIME}/StartContainer", cri_pb2.StartContainerRequest, cri_pb2.StartContainerResponse
)
STOP_CONTAINER = Method(
    f"{_RUNTIME}/StopContainer", cri_pb2.StopContainerRequest, cri_pb2.StopContainerResponse
)
REMOVE_CONTAINER = Method(
    f"{_RUNTIME}/RemoveContainer", cri_pb2.RemoveContainerRequest, cri_pb2.RemoveContainerResponse
)
LIST_CRI_CONTAINERS = Method(
    f"{_RUNTIME}/ListContainers", cri_pb2.ListContainersRequest, cri_pb2.ListContainersResponse
)
CONTAINER_STATUS = Method(
    f"{_RUNTIME}/ContainerStatus", cri_pb2.ContainerStatusRequest, cri_pb2.ContainerStatusResponse
)
UPDATE_CONTAINER_RESOURCES = Method(
    f"{_RUNTIME}/UpdateContainerResources",
    cri_pb2.UpdateContainerResourcesRequest,
    cri_pb2.UpdateContainerResourcesResponse,
)
REOPEN_CONTAINER_LOG = Method(
    f"{_RUNTIME}/ReopenContainerLog", cri_pb2.ReopenContainerLogRequest, cri_pb2.ReopenContainerLogResponse
)
EXEC_SYNC = Method(f"{_RUNTIME}/ExecSync", cri_pb2.ExecSyncRequest, cri_pb2.ExecSyncResponse)
CONTAINER_STATS = Method(
    f"{_RUNTIME}/ContainerStats", cri_pb2.ContainerStatsRequest, cri_pb2.ContainerStatsResponse
)
LIST_CONTAINER_STATS = Method(
    f"{_RUNTIME}/ListContainerStats", cri_pb2.ListContainerStatsRequest, cri_pb2.ListContainerStatsResponse
)
CHECKPOINT_CONTAINER = Method(
    f"{_RUNTIME}/CheckpointContainer", cri_pb2.CheckpointContainerRequest, cri_pb2.CheckpointContainerResponse
)
LIST_IMAGES = Method(f"{_IMAGE}/ListImages", cri_pb2.ListImagesRequest, cri_pb2.ListImagesResponse)
IMAGE_STATUS = Method(f"{_IMAGE}/ImageStatus", cri_pb2.ImageStatusRequest, cri_pb2.ImageStatusResponse)
