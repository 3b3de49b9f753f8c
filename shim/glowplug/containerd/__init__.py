"""containerd, over its gRPC socket: what it knows of containers (client.py), and pods through CRI (cri.py).

Every failure is a `glowplug.errors.ContainerdError`. Nothing here is imported by `glowplug-runtime`: grpcio
and protobuf are third-party parts, and stay on the agent's and the CLI's side.
"""
