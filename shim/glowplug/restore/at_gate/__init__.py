"""Steps that are taken while the restored tree is held at its gate; standard library only."""
