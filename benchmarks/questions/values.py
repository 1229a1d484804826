"""How does the cost of a put and of a get depend on the size of the value?"""

from __future__ import annotations

from harness import Bench, Sample, key_of, stores_of, take, value_of

SIZES = [8, 64, 512, 4096, 32_768, 262_144, 1 << 20]
#: Written for one size in one round, at most.
BYTES_MAX = 16 << 20


def ask(bench: Bench) -> None:
    kinds = stores_of(bench, 0)
    sizes = [size for size in SIZES if size <= bench.sizes["value_max"]]
    samples = {
        (size, what): {kind.name: Sample() for kind in kinds}
        for size in sizes
        for what in ("put", "get")
    }
    with bench.opened(kinds) as stores:
        for number in range(bench.sizes["rounds"]):
            for size in sizes:
                count = max(2, min(bench.sizes["count"] // 4, BYTES_MAX // size))
                keys = [key_of(i) for i in range(count)]
                pairs = [(key, value_of(i + number, size)) for i, key in enumerate(keys)]
                for store in bench.shuffled(stores):
                    put, get = samples[size, "put"], samples[size, "get"]
                    statements = store.statements
                    take(store, statements["put"], "key, value", pairs, put[store.name])
                    take(store, statements["get"], "key", keys, get[store.name])
                    if dict(store.items()) != dict(pairs):
                        raise AssertionError(f"{store.name} does not hold values of {size} bytes")
                    take(store, statements["delete"], "key", keys, Sample())
            bench.said(f"values: round {number + 1} of {bench.sizes['rounds']}")
    for (size, what), by_name in samples.items():
        name = f"{what}, value of {size} bytes"
        bench.add("values", name, by_name, x=size, series=what, writes=what == "put")
