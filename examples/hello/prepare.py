"""A job: it runs once to its end, and not again when the same file is applied again."""

import os

print(f"prepared by {os.environ.get('ORION_REPLICA_ID', 'hand')}", flush=True)
