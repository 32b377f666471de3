"""Greets whoever asks, on the port Orion gives it."""

import http.server
import os
import signal
import sys

GREETING = os.environ.get("GREETING", "Hello")
REPLICA = os.environ.get("ORION_REPLICA_ID", "nobody")


class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{GREETING} from {REPLICA}, pid {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        print(f"{self.command} {self.path}", flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Greeter)
print(f"greeting on port {server.server_port}", flush=True)
server.serve_forever()
