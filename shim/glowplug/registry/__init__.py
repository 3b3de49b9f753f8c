"""Checkpoints to and from OCI registries: format, encryption, signatures, and the ways in and out. On the agent's side.

names, index, config, oci           what an artifact is made of; values in, values out (docs/artifact.md)
chunks, seal, signature             how it is cut, encrypted and signed; no I/O
settings, fleet, keys               what the node is configured with
transport, client, credentials      the distribution protocol
reading, writing                    a checkpoint's directory as streams of bytes, and back
push, look, pull, seen              the pipelines
"""
