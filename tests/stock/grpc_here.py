"""Debian's python3-grpcio, or the end of the test with 77: skipped."""
import sys

try:
    import grpc  # noqa: F401
except ImportError as error:
    print(f"skipped: no grpc for {sys.executable} ({error})")
    sys.exit(77)
