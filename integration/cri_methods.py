"""The calls of CRI that a kubelet makes and Glowplug does not, as a table like `glowplug.containerd.methods`."""

from glowplug.containerd.protos import cri_pb2
from glowplug.containerd.rpc import Method

_RUNTIME = "/runtime.v1.RuntimeService"
_IMAGE = "/runtime.v1.ImageService"

CRI_VERSION = Method(f"{_RUNTIME}/Version", cri_pb2.VersionRequest, cri_pb2.VersionResponse)
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
CREATE_CONTAINER = Method(
    f"{_RUNTIME}/CreateContainer", cri_pb2.CreateContainerRequest, cri_pb2.CreateContainerResponse
)
START_CONTAINER = Method(
    f"{_RUNTIME}/StartContainer", cri_pb2.StartContainerRequest, cri_pb2.StartContainerResponse
)
STOP_CONTAINER = Method(
    f"{_RUNTIME}/StopContainer", cri_pb2.StopContainerRequest, cri_pb2.StopContainerResponse
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
CONTAINER_STATS = Method(
    f"{_RUNTIME}/ContainerStats", cri_pb2.ContainerStatsRequest, cri_pb2.ContainerStatsResponse
)
CHECKPOINT_CONTAINER = Method(
    f"{_RUNTIME}/CheckpointContainer", cri_pb2.CheckpointContainerRequest, cri_pb2.CheckpointContainerResponse
)
IMAGE_STATUS = Method(f"{_IMAGE}/ImageStatus", cri_pb2.ImageStatusRequest, cri_pb2.ImageStatusResponse)
