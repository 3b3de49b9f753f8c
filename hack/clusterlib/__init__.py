"""A Kubernetes cluster of one node on this machine, beside anything else that runs here (hack/cluster).

The node is a set of namespaces (machine.py) with directories of its own over those that a node writes; the control
plane (control.py), containerd and the kubelet (node.py) are ordinary processes in it. All of it ends with the node's
process 1, and what it wrote is in one directory (place.py).
"""
