"""What the agent writes to the Kubernetes API, against a server of the tests' own."""
