"""The VM's own view of itself: Azure's Instance Metadata Service (IMDS) over HTTP, or none at all."""
