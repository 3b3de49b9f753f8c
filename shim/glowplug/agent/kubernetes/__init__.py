"""What the agent writes to the Kubernetes API: Events, the pods' outcome annotation and condition, the node's labels.

Nothing waits for the API server: writes go through a queue with a limit (`writer.py`), and what is dropped is counted.
A right that the agent does not have is no error; it is tried again later.
"""
