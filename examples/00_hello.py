"""Ten lines: a dict that survives.  Run it twice, or kill it in between.

python examples/00_hello.py [POOL]
"""

import sys

import pmemstore

path = sys.argv[1] if len(sys.argv) > 1 else "hello.pool"

with pmemstore.open(path) as pool:  # made at the first run, opened at the next
    root = pool.root  # a persistent dict: everything hangs on it
    shop = root.setdefault("shop", {"visits": 0, "log": [], "stock": {"apples": 5}})
    with pool.transaction():  # all of it, or nothing: after an exception, a kill, a power cut
        shop["visits"] += 1
        shop["log"].append(f"visit {shop['visits']}")
        shop["stock"]["apples"] = shop["stock"].get("apples", 0) + 1
    print(f"visits: {shop['visits']}, stock: {shop['stock']}, last: {shop['log'][-3:]}")
    print(f"durability: {pool.durability}")
