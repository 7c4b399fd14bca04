"""The C interface: codes that are not Python hold a Python of their own and make the same six calls through it."""
