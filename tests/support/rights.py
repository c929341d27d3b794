"""A process without root's rights over files."""

import sys

import pytest

ON_LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="root's rights are taken away as Linux does it"
)

# Root may write where the mode forbids it; without these two of its rights (bits 1 and 2) it is a
# person like any other.
AS_A_PERSON = (
    sys.executable,
    "-c",
    """if True:
        import ctypes, os, sys
        for right in (1, 2):
            ctypes.CDLL(None).prctl(24, right, 0, 0, 0)
        os.execv(sys.argv[1], sys.argv[1:])
    """,
)
