"""`glowplug-runtime`, once its shell script has sorted out what needs Python.

HOT: run as `python3 -IS main.py RUNC ARGV…` with the container's own stdin, stdout and stderr as
descriptors 7, 8 and 9. The script knows the exit statuses in status.py; whatever else this ends with, it
execs runc with the same arguments. `--take-back` before ARGV only cleans up after a killed `create`.
"""

import os
import sys


def main(runc: str, args: list[str]) -> int:
    """The exit status for the script. What it raises ends in runc as well."""
    from glowplug.runtime import argv
    from glowplug.runtime.status import RUNC

    take_back = args[:1] == ["--take-back"]
    try:
        command = argv.parse(args[1:] if take_back else args)
    except argv.Unknown:
        return RUNC
    if take_back:
        from glowplug.runtime import take_back as taking_back

        return taking_back.run(runc, command)
    if command.verb == "create":
        from glowplug.runtime import create

        return create.run(runc, command)
    if command.verb == "checkpoint":
        from glowplug.runtime import checkpoint

        return checkpoint.run(runc, command, args)
    if command.verb == "delete":
        from glowplug.runtime import delete

        return delete.run(runc, command)
    return RUNC


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    # Whatever is wrong with this installation, the script takes the status for "run runc".
    os._exit(main(sys.argv[1], sys.argv[2:]))
