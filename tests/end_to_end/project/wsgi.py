"""What gunicorn serves."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from tests.end_to_end.project.clocks import with_own_list

application = with_own_list(get_wsgi_application(), os.environ["OWN_LIST"])
