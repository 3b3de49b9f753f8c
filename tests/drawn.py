"""How hypothesis draws examples in every test: importing this sets it.

The same code gets the same examples, so that a run that fails fails again; and an example may take as long as it
takes: a busy machine is no fault. `hack/test -- --hypothesis-profile=default` draws new ones.
"""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
