"""
A shop on Django. An order, its event and its task commit together; a worker beside the web server sends the receipt.

    pip install 'holdfast[django,postgres]' django-tasks
    python manage.py migrate
    python manage.py runserver                          # and in another terminal:
    python manage.py holdfast worker
    curl -d customer=ann -d item=anchor localhost:8000/orders/
    curl localhost:8000/orders/1/
    python manage.py test shop

It keeps its orders and events in an SQLite file; SHOP_POSTGRES, a DSN, names a database of PostgreSQL.
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)
