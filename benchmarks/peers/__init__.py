"""DumbKV beside what people use today: `python -m benchmarks.peers`.

`contenders` says who takes part and `embedded`, `redis_server` how to call them. `single`,
`threads`, `footprint` and `pause` are what is measured, `run` does it all and `results` keeps
it; `page` and `picture` show it in `docs/`.
"""
