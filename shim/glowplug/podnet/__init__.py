"""A pod's network namespace: its interfaces and addresses, and HTTP to a server in it.

Sockets are made by a thread that enters the namespace (setns(2)) and ends; who uses them stays outside. A server
in a pod is trusted with nothing: no redirect is followed, and what is read is bounded in bytes and in time.
"""
