"""The runtime handler on this node: install, verify, roll back, uninstall.

Read `install.py` first: its steps use one file each. `block`, `handler`, `imports` and `edit` are text in, text out;
`effective` asks containerd itself what it makes of a configuration; `files` writes and takes back.
"""
