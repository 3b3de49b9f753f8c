"""What hack/gpu-check is made of: pods of plain runc on this machine, workloads for them, and the checks."""
