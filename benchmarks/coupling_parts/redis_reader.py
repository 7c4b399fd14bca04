"""Takes every array out of Redis: the other end of ``peers.py``. Port and password come by the environment."""

import os

import redis

port, password = os.environ["CDI_BENCH_REDIS"].split()
store = redis.Redis(port=int(port), password=password)
while True:
    found = store.blpop("steps", timeout=60)
    if found is None or int(found[1]) < 0:
        break
    store.getdel(f"pattern-{int(found[1])}")
