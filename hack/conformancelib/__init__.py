"""What hack/conformance is made of: runc's tests without Go, and the programs that they call."""
