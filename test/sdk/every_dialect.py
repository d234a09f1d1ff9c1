"""A gateway with a provider and a model for each API besides the first two (test_dialects.py)."""

from sdk_test import SdkCase  # and with it, test/script is found
import test_dialects
from parley_test import Sim


class EveryDialect(SdkCase):
    sim_options = ()

    def sim(self, *options):
        return super().sim(*self.sim_options, *options)

    def gateway(self, upstream, *grants, **config):
        url = upstream.url if isinstance(upstream, Sim) else upstream
        grants = [{**grant, "models": test_dialects.MODELS} for grant in grants]
        return super().gateway(upstream, *grants, **{**test_dialects.configuration(url), **config})
