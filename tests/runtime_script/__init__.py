"""The runtime's shell script: what it passes on, and what it does itself."""
