"""The program: one command, and every error in one line that says what to do next."""

import errno
import os
import sys

from dumbkv.cli import arguments
from dumbkv.cli.ndjson import BadLineError
from dumbkv.errors import CorruptError, DumbKVError, InvalidKeyError, LockedError

WRONG_USAGE, FAILED, INTERRUPTED = 2, 3, 130

_NEXT = {
    errno.ENOENT: "check the path; set and load make FILE when it is not there",
    errno.EACCES: "run this as a user who may, or take another path",
    errno.EPERM: "run this as a user who may, or take another path",
    errno.ENOSPC: "make room and try again: what was there is unchanged",
    errno.EDQUOT: "make room and try again: what was there is unchanged",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f): what was there is unchanged",
}


def main(given: list[str] | None = None) -> int:
    """Runs the command that the arguments name; the answer is the exit status."""
    options = arguments.parse(given)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        _drop_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except InvalidKeyError as error:
        return _fail(str(error), WRONG_USAGE)
    except CorruptError as error:
        return _fail(_corrupt(error))
    except LockedError as error:
        return _fail(f"{error}: try again when it has ended, or give a longer --wait")
    except BadLineError as error:
        return _fail(f"{error}: nothing was changed: correct the line and try again")
    except OSError as error:
        _drop_output()
        return _fail(_system(error))
    except (DumbKVError, MemoryError) as error:
        return _fail(str(error) or "not enough memory: nothing was changed")
    return status


def _drop_output() -> None:
    """Let what stdout did not take go nowhere: Python tries once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(what: str, status: int = FAILED) -> int:
    print(f"dumbkv: {what}", file=sys.stderr)
    return status


def _corrupt(error: CorruptError) -> str:
    if error.offset:
        return f"{error}: restore the file from a copy; verify tells what of it is whole"
    return f"{error}: give a file that dumbkv wrote, or for lines of JSON load --ndjson"


def _system(error: OSError) -> str:
    where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    what = f"{where}{error.strerror or error}"
    hint = _NEXT.get(error.errno or 0)
    return f"{what}: {hint}" if hint else what
