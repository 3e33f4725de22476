"""Workflow: what is asked of the server and done on the device, in which order. Uses only the ports of ``core``.

Nothing here sleeps between steps, starts threads or knows a file name: ``Agent.step`` does what is due and returns how
long to wait.
"""
