"""The settings of a run whose mutation changes the schema: triggers as the models have them, not the migrations."""

from config.settings import *  # noqa: F403

PGTRIGGER_INSTALL_ON_MIGRATE = True
