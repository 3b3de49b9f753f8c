"""What a bench's container has of an inference engine: memory, threads that wait, files in its layer."""

PROGRAM = """
import os, threading
kept = [os.urandom(1 << 20) for _ in range(int(os.environ["MIB"]))]
threading.stack_size(65536)
for _ in range(int(os.environ["THREADS"])):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
os.mkdir("/compiled")
for number in range(int(os.environ["FILES"])):
    with open(f"/compiled/{number}", "wb") as file:
        file.write(os.urandom(int(os.environ["FILE_BYTES"])))
"""
"""Python, with the sizes in its environment."""
