"""Run a command from a process as small as this one: a program inherits the memory peak of whoever started it.

``python counted.py FD PROGRAM ARGUMENT...`` writes wall and CPU seconds, peak KiB and exit code to FD as a JSON object.
"""

import json
import os
import sys
import time

began = time.monotonic()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
with os.fdopen(int(sys.argv[1]), "w") as out:
    counted = {
        "wall_s": time.monotonic() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_kib": used.ru_maxrss,
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    json.dump(counted, out)
