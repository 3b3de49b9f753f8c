"""Tests against real containerd, runc and CRIU, and the private node that they run on."""
