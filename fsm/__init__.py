"""What is true of interruptible work on Azure Spot VMs: the machines as tables, the delivery protocol, the worker.

Imports the standard library and ``transitions``, nothing else.
"""
