# ruff: noqa: N999 - the name that gunicorn looks for by itself
"""Configure gunicorn for the shop: 4 workers of 4 threads each on the loopback interface.

Run from the repository root: `gunicorn -c example_project/gunicorn.conf.py`.
"""

from __future__ import annotations

wsgi_app = "example_project.wsgi:application"
bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = 4
threads = 4

# TERM waits this long for requests in flight; the slowest planted fault that the demo sends takes 1.2 s.
graceful_timeout = 10

# gunicorn 27 opens a control socket in the home folder by default; a demo leaves nothing there.
control_socket_disable = True
