"""Glowplug in a real cluster (hack/cluster): a kubelet, an API server, and what Kubernetes has around a pod.

`hack/test --cluster` runs these, and nothing else does: they bring up a control plane and take minutes. The files run
in the order of their names, on one cluster; the first one installs Glowplug with the README's own commands.
"""
