"""`hack/demo`, after hack/setup. Arguments: the file for --json, `keep` and `auto`, or nothing in their place."""

import os
import sys

from hack.demolib.interrupt import Interruptions

interruptions = Interruptions()  # before the imports that take long

from hack.demolib.run import FAILED, run

status = run(interruptions, json_file=sys.argv[1], keep=sys.argv[2] == "keep", auto=sys.argv[3] == "auto")
try:
    sys.stdout.flush()
except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = FAILED
sys.exit(status)
