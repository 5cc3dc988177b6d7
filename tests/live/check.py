"""One line a check: PASS or FAIL with its cause. The exit code of a script is 1 as soon as one check failed."""

import sys
import time
import traceback

failed = []


def check(name):
    """Runs the decorated function at once as a check of this name."""
    def run(body):
        began = time.monotonic()
        try:
            body()
        except Exception as error:  # whatever goes wrong in a client library is a finding, not an end
            failed.append(name)
            place = traceback.extract_tb(error.__traceback__)[-1]
            cause = " ".join(str(error).split())[:400]
            print(f"FAIL  {name}: {type(error).__name__}: {cause} ({place.name}:{place.lineno})", flush=True)
        else:
            print(f"PASS  {name} ({time.monotonic() - began:.1f} s)", flush=True)
        return body
    return run


def same(found, wanted, what=""):
    """Fails unless both are equal."""
    assert found == wanted, f"{what or 'value'}: {found!r}, wanted {wanted!r}"


def finish():
    """Ends the script."""
    sys.exit(1 if failed else 0)
