"""Says the time each second."""

import time

while True:
    print(time.ctime())  # noqa: T201
    time.sleep(1)
