"""Visits the greeter every few seconds and says what it heard."""

import os
import signal
import sys
import time
import urllib.request

URL = os.environ["GREETER_URL"]
PAUSE = float(os.environ.get("PAUSE_SECONDS", "5"))

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    try:
        with urllib.request.urlopen(URL, timeout=2) as answer:
            print("heard:", answer.read().decode().strip(), flush=True)
        pause = PAUSE
    except OSError as error:
        print("nobody answers yet:", error, file=sys.stderr, flush=True)
        pause = min(PAUSE, 1)
    time.sleep(pause)
