"""What the shell script understands: its exit statuses. HOT."""

DONE = 90  # the work is done, runc is not called
REFUSED = 91  # neither is runc: the error is in runc's log
RUNC = 92  # over to runc, with the arguments as they came
