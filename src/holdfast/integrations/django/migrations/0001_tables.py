from django.apps import apps
from django.db import migrations

from holdfast.integrations.django.migrating import LABEL, MakeTables, models_as_they_are


class Migration(migrations.Migration):
    initial = True
    atomic = False  # the store's migrator has a connection, and transactions, of its own
    operations = (MakeTables(), *models_as_they_are(apps.get_app_config(LABEL).get_models()))
