"""containerd, over its gRPC socket: what it knows of containers (client.py), and pods through CRI (cri.py).

Every failure is a `glowplug.errors.ContainerdError`. Nothing here is imported by `glowplug-runtime`: grpcio
and protobuf are third-party parts, and stay on the agent's and the CLI's side. Nothing else imports grpcio.
"""

import os

# Read when grpcio is imported. With fork support gRPC starts its threads again in a forked child, and aborts the child
# when that closes the descriptors that are not its own. No child here makes a call.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
