"""A program that has what real servers have, and reports it over HTTP. Runs in containers; stdlib only.

`python3 -m integration.workload`, configured by environment:

WORKLOAD            features to start, comma-separated: a name of `features.FEATURES` each
WORKLOAD_WORK       rounds of real computing before it serves (a hundred thousand take about 0.1 s)
WORKLOAD_MEMORY_MB  random memory to allocate, in MiB
WORKLOAD_LOG_MS     write a numbered line to stdout and to stderr every so many milliseconds
WORKLOAD_OUTSIDE    host:port for the feature `tcp_outside`
WORKLOAD_FILE       path for the feature `open_file`
WORKLOAD_PORT       the HTTP server's, on 0.0.0.0, and the one behind it on :: (8000)
WORKLOAD_TERM_CODE  exit code after SIGTERM (0)

GET /state          JSON: tokens, process facts, and under each feature's name what a try of it gave just now
GET /token          the token in memory, as text
GET /say?lines=N    writes that many numbered lines to stdout and as many to stderr, then answers
GET /grow?mb=N      answers, then takes that much more memory
GET /exit?code=N    answers, then ends the process with that code
"""
