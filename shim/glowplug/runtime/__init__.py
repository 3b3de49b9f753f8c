"""`glowplug-runtime`: `main.py` is called by the shell script for what needs Python; the rest goes straight to runc.

Whatever goes wrong ends in `runc create` with the arguments that we got. Standard library only, and each
import is paid at every start (tests/test_runtime_imports.py): modules that say HOT import as little as they can.
"""
