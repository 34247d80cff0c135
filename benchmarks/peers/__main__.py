"""`python -m benchmarks.peers`: measure, and rewrite the results, the picture and the page."""

import argparse
import sys

from benchmarks.peers import page, picture, results
from benchmarks.peers.contenders import BASELINE, contenders
from benchmarks.peers.progress import teller
from benchmarks.peers.run import FULL, SHORT, run


def main() -> int:
    people = contenders()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of everything; writes nothing")
    parser.add_argument(
        "--only", choices=results.SECTIONS, action="append", help="one measurement; writes nothing"
    )
    parser.add_argument(
        "--peer",
        choices=[who.name for who in people],
        action="append",
        help=f"this one and {BASELINE}; writes nothing",
    )
    parser.add_argument(
        "--draw", action="store_true", help="picture and page of the results there are"
    )
    args = parser.parse_args()

    if args.draw:
        show(results.load())
        return 0
    partial = args.short or args.only or args.peer
    if not partial and not any(who.name == "Redis" for who in people):
        parser.error("a full run wants redis-server: install it, or leave it out with --peer")
    if args.peer:
        people = [who for who in people if who.name in (BASELINE, *args.peer)]
    found = run(SHORT if args.short else FULL, people, args.only or results.SECTIONS, teller())
    measured = results.measured_now(found)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    if partial:  # a part is not to replace the whole
        print(page.tables(measured))
    else:
        results.save(measured)
        show(measured)
    return 0


def show(measured: results.Results) -> None:
    picture.draw(measured)
    page.write(measured)


if __name__ == "__main__":
    sys.exit(main())
