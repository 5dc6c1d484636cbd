"""What runs the worker on Azure: Bicep for all that it needs, and the commands of the walk-through in its README."""
