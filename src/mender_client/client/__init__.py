"""Workflow: who calls whom, in which order. Speaks to the ports of ``core`` only, so it runs in any world.

Nothing here sleeps between steps, starts threads or knows a file name: ``Client.step`` does what is due and says how
long to wait.
"""
