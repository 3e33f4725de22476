"""The workflow: which requests are sent to the server, what is done on the device, and in which order.

It uses only the ports of ``core``: nothing here sleeps between steps, starts threads or knows a file name.
``Agent.step`` does what is due and returns how long to wait.
"""
