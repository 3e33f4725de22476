"""Ring four: the real, installed program as processes, against the dev server, with faults."""
